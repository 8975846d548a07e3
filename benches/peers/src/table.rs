//! All results as text and as JSON.

use std::fmt::Write as _;

use clap::ValueEnum as _;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde_json::{Value, json};

use crate::case::{Case, Direction};
use crate::measure::BATCHES;
use crate::one::{Outcome, Report};
use crate::peer::Name;
use crate::word;

pub struct Row {
    pub case: Case,
    pub peer: Name,
    pub report: Report,
}

const HEADER: [&str; 9] = ["norm", "shape", "direction", "by", "time", "/ ours", "error", "at mean 1e6", "remark"];
/// The columns that hold numbers.
const NUMBERS: std::ops::Range<usize> = 4..8;
/// A longer reason is cut here; the JSON has the whole.
const REASON: usize = 80;

pub fn text(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled).set_header(HEADER);
    for row in rows {
        table.add_row(cells(row, rows));
    }
    for column in table.column_iter_mut().take(NUMBERS.end).skip(NUMBERS.start) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!(
        "{table}\n\ntime: of one call, the median of {BATCHES} batches. error: the largest |error| / scale against float64, \
         with data\nof standard deviation 1 and mean 1; at mean 1e6 the same with that mean. That of a backward pass is the largest \
         of its\ngradients, each against its own scale.\n\n"
    );
    for peer in peers(rows) {
        let _ = writeln!(text, "{}", summary(peer, rows));
    }
    text
}

pub fn json(rows: &[Row]) -> Value {
    let about: serde_json::Map<_, _> =
        peers(rows).into_iter().map(|peer| (word(&peer), json!(about(peer, rows)))).collect();
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "norm": word(&row.case.kind),
                "shape": row.case.shape,
                "channel_axis": row.case.channel_axis,
                "direction": word(&row.case.direction),
                "peer": word(&row.peer),
                "ratio": ratio(row, rows),
                "result": row.report.outcome,
            })
        })
        .collect();
    json!({ "peers": about, "rows": rows })
}

fn cells(row: &Row, rows: &[Row]) -> [String; 9] {
    let error = |error: &f64| format!("{error:.1e}");
    let (time, errors, remark) = match &row.report.outcome {
        Outcome::Timed { error: near, error_at_mean_1e6: far, seconds, .. } => {
            (time(*seconds), [error(near), error(far)], String::new())
        }
        Outcome::Wrong { error: near, error_at_mean_1e6: far } => {
            (String::new(), [error(near), error(far)], "WRONG".to_owned())
        }
        Outcome::NotInstalled { reason } => (String::new(), Default::default(), format!("not installed: {reason}")),
        Outcome::Crashed { reason } => (String::new(), Default::default(), format!("crashed: {reason}")),
    };
    let ratio = ratio(row, rows).map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    let [near, far] = errors;
    let remark = match remark.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}...", &remark[..end]),
        None => remark,
    };
    let name = row.peer.to_string();
    let Case { kind, direction, .. } = &row.case;
    [kind.to_string(), row.case.shape(), direction.to_string(), name, time, ratio, near, far, remark]
}

fn seconds(row: &Row) -> Option<f64> {
    match row.report.outcome {
        Outcome::Timed { seconds, .. } => Some(seconds),
        _ => None,
    }
}

/// A row's time over that of wgpu-norm in the same case.
fn ratio(row: &Row, rows: &[Row]) -> Option<f64> {
    let ours = rows.iter().find(|other| other.peer == Name::Ours && other.case.name() == row.case.name())?;
    Some(seconds(row)? / seconds(ours)?)
}

/// In the order of the table.
fn peers(rows: &[Row]) -> Vec<Name> {
    let mut peers = Vec::new();
    for row in rows {
        if !peers.contains(&row.peer) {
            peers.push(row.peer);
        }
    }
    peers
}

fn about(peer: Name, rows: &[Row]) -> Option<&str> {
    rows.iter().filter(|row| row.peer == peer).find_map(|row| row.report.about.as_deref())
}

fn summary(peer: Name, rows: &[Row]) -> String {
    let of_peer: Vec<&Row> = rows.iter().filter(|row| row.peer == peer).collect();
    let mut text = format!("{peer} {}", about(peer, rows).unwrap_or("was never ready"));
    for &direction in Direction::value_variants() {
        let of_direction = of_peer.iter().filter(|row| row.case.direction == direction);
        let ratios: Vec<f64> = of_direction.filter_map(|row| ratio(row, rows)).collect();
        if peer == Name::Ours || ratios.is_empty() {
            continue;
        }
        let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
        let slower = ratios.iter().filter(|&&ratio| ratio > 1.0).count();
        let count = ratios.len();
        let _ = write!(text, "; {direction} slower in {slower} of {count}, geometric mean of time / ours {mean:.2}");
    }
    let count = |of: fn(&Outcome) -> bool| of_peer.iter().filter(|row| of(&row.report.outcome)).count();
    for (count, what) in [
        (count(|outcome| matches!(outcome, Outcome::Wrong { .. })), "wrong"),
        (count(|outcome| matches!(outcome, Outcome::Crashed { .. })), "crashed"),
    ] {
        if count > 0 {
            let _ = write!(text, "; {count} {what}");
        }
    }
    text
}

/// A time in the unit that suits it.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} us", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}
