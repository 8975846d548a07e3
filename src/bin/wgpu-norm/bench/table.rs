//! The numbers as people read them.

use super::compare::Comparison;
use super::report::{Outcome, Report, Row};

/// What every run has, and after it what is told of passes.
const COLUMNS: [&str; 8] = ["norm", "shape", "layout", "moved", "time", "middle half", "GB/s", "of copy"];
const COMPARED: [&str; 3] = ["then", "now/then", "time now/then"];
const LAST: &str = "passes";
/// The columns of words, which stand left.
const WORDS: [&str; 4] = ["norm", "shape", "layout", LAST];

pub(crate) fn table(report: &Report, comparison: Option<&Comparison>) -> String {
    let mut header: Vec<String> = COLUMNS.map(str::to_owned).to_vec();
    if comparison.is_some() {
        header.extend(COMPARED.map(str::to_owned));
    }
    header.push(LAST.to_owned());
    let mut lines = vec![header.clone()];
    for row in &report.cases {
        let mut line = cells(row);
        line.extend(comparison.into_iter().flat_map(|comparison| comparison.cells(row)));
        line.push(passes(row));
        lines.push(line);
    }
    let widths: Vec<usize> = (0..header.len())
        .map(|column| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let mut text = String::new();
    for line in &lines {
        let mut out = String::new();
        for ((cell, &width), title) in line.iter().zip(&widths).zip(&header) {
            if WORDS.contains(&title.as_str()) {
                out.push_str(&format!("{cell:width$}  "));
            } else {
                out.push_str(&format!("{cell:>width$}  "));
            }
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
    for row in &report.cases {
        if let Outcome::Failed { failed } = &row.outcome {
            text.push_str(&format!("FAILED: {}: {failed}\n", row.name()));
        }
    }
    text
}

fn cells(row: &Row) -> Vec<String> {
    let mut cells = vec![row.long_title(), row.shape.clone(), row.layout.clone(), size(row.bytes)];
    match &row.outcome {
        Outcome::Timed(speed) => cells.extend([
            time(speed.seconds),
            format!("{} - {}", time(speed.seconds_low), time(speed.seconds_high)),
            significant(speed.gb_per_s),
            format!("{}{:.2}", if speed.is_noisy() { "~" } else { "" }, speed.ratio_to_copy),
        ]),
        Outcome::Failed { .. } => cells.extend(["", "", "", "FAILED"].map(str::to_owned)),
    }
    cells
}

/// The kernels, without what each says of itself.
fn passes(row: &Row) -> String {
    let names: Vec<&str> = row.plan.iter().filter_map(|pass| pass.split(':').next()).collect();
    names.join(", ")
}

fn size(bytes: u64) -> String {
    match bytes as f64 {
        b if b < 1e3 => format!("{bytes} B"),
        b if b < 1e6 => format!("{} kB", significant(b / 1e3)),
        b => format!("{} MB", significant(b / 1e6)),
    }
}

/// Three digits and a unit.
pub(crate) fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 1e-3 => (s * 1e6, "us"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    format!("{} {unit}", significant(value))
}

/// About three digits.
fn significant(value: f64) -> String {
    let digits = match value {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_result_has_no_time() {
        let row = |shape: &str, outcome| Row {
            norm: "LayerNorm".to_owned(),
            direction: "forward".to_owned(),
            gradients: Vec::new(),
            shape: shape.to_owned(),
            layout: "rows".to_owned(),
            plan: vec!["fused_rows: 1 x 64 invocations".to_owned()],
            bytes: 2_400_000,
            error: None,
            outcome,
        };
        let failed = Outcome::Failed { failed: "no memory".to_owned() };
        let report = Report {
            adapter: Default::default(),
            method: String::new(),
            copy: Vec::new(),
            cases: vec![row("3x100000", Outcome::wrong(0.5)), row("7x8", failed)],
        };
        assert_eq!(report.failed(), 2);
        let text = table(&report, None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>(),
            ["LayerNorm", "3x100000", "rows", "2.40", "MB", "FAILED", "fused_rows"]
        );
        assert_eq!(lines[3], "FAILED: LayerNorm 3x100000 rows: off by 5.0e-1, and 4e-6 is the most");
        assert_eq!(lines[4], "FAILED: LayerNorm 7x8 rows: no memory");
        // Columns stand under one another.
        assert_eq!(lines[1].find("FAILED"), lines[2].find("FAILED"));
        // As it is written, so it is read.
        let read: Report = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(table(&read, None), text);
    }

    #[test]
    fn times_have_three_digits() {
        for (seconds, text) in [(1.2345e-6, "1.23 us"), (4.5678e-2, "45.7 ms"), (0.9876, "988 ms"), (12.345, "12.3 s")]
        {
            assert_eq!(time(seconds), text);
        }
    }
}
