//! The numbers as people read them.

use wgpu_norm::sample::{significant, time};

use super::Comparison;
use super::report::{Outcome, Report, Row};

/// What every run has, and after it what is told of passes.
const COLUMNS: [&str; 10] = [
    "norm",
    "shape",
    "layout",
    "time",
    "copy's time",
    "GB/s",
    "copy's GB/s",
    "time / copy's",
    "bytes / copy's",
    "GB/s / copy's",
];
const COMPARED: [&str; 3] = ["then", "now/then", "time now/then"];
const LAST: &str = "passes";
/// The columns of words, which stand left.
const WORDS: [&str; 4] = ["norm", "shape", "layout", LAST];

/// A table for each direction, and what their columns are.
pub(crate) fn text(report: &Report, description: &str, comparison: Option<&Comparison>) -> String {
    let mut text = format!("{description}\n");
    if let Some(short) = report.short() {
        text.push_str(&format!("of {short}, but for weight and bias and their gradients\n"));
    }
    for (heading, rows) in report.directions() {
        text.push_str(&format!("\n{heading}\n{}", table(&rows, comparison)));
    }
    text.push('\n');
    for row in &report.cases {
        if let Outcome::Failed { failed } = &row.outcome {
            text.push_str(&format!("FAILED: {}: {failed}\n", row.name()));
        }
    }
    let mut line = |name: &str, meaning: &str| text.push_str(&format!("{name:16}{meaning}\n"));
    line(
        "copy",
        "copies a tensor of the same size, by turns with the norm: the fastest kernel of ten, or memcpy by all threads",
    );
    line("time", &format!("the median of all rounds, by {}", report.method));
    line("time / copy's", "2.00: the norm takes twice as long as the copy");
    line("bytes / copy's", "2.00: its passes read and write twice as much (of x and y; backward: x, dy and dx)");
    line("GB/s / copy's", "bytes / copy's over time / copy's; 1.00: as fast as memory allows for what is moved");
    if report.is_noisy() {
        line("~", "the middle half of the rounds is wider than a tenth of it: something else runs, too");
    }
    if let Some(comparison) = comparison {
        line("then", &format!("GB/s / copy's in `{}`; now/then of it, and of the time", comparison.file));
    }
    text
}

fn table(rows: &[&Row], comparison: Option<&Comparison>) -> String {
    let mut header: Vec<String> = COLUMNS.map(str::to_owned).to_vec();
    if comparison.is_some() {
        header.extend(COMPARED.map(str::to_owned));
    }
    header.push(LAST.to_owned());
    let mut lines = vec![header.clone()];
    for row in rows {
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
    text
}

fn cells(row: &Row) -> Vec<String> {
    let mut cells = vec![row.title(), row.shape.clone(), row.layout.clone()];
    match &row.outcome {
        Outcome::Timed(speed) => cells.extend([
            time(speed.seconds),
            time(speed.copy_seconds),
            significant(speed.gb_per_s),
            significant(speed.copy_gb_per_s),
            format!("{:.2}", speed.time_to_copy),
            format!("{:.2}", speed.bytes_to_copy),
            format!("{}{:.2}", if speed.is_noisy() { "~" } else { "" }, speed.ratio_to_copy),
        ]),
        Outcome::Failed { .. } => cells.extend(["", "", "", "", "", "", "FAILED"].map(str::to_owned)),
    }
    cells
}

/// The kernels, without what each says of itself.
fn passes(row: &Row) -> String {
    let names: Vec<&str> = row.plan.iter().filter_map(|pass| pass.split(':').next()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::Trouble;
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
        let wrong = Outcome::failed(&Trouble::Wrong { error: 0.5 });
        let failed = Outcome::failed(&Trouble::Device { said: "no\n memory".to_owned() });
        let backward = Row { direction: "backward".to_owned(), ..row("7x8", failed) };
        let cases = vec![row("3x100000", wrong), backward];
        let report = Report { dtype: "f32".to_owned(), method: String::new(), copy: Vec::new(), cases };
        assert_eq!(report.failed(), 2);
        let text = text(&report, "a card", None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!([0, 2, 6].map(|line| lines[line]), ["a card", "Forward", "Backward"]);
        assert_eq!(
            lines[4].split_whitespace().collect::<Vec<_>>(),
            ["LayerNorm", "3x100000", "rows", "FAILED", "fused_rows"]
        );
        // Columns stand under their heads.
        assert_eq!(lines[3].rfind("s  passes"), lines[4].rfind("D  fused_rows"));
        assert_eq!(
            lines[10..12],
            [
                "FAILED: LayerNorm 3x100000 rows: the result is off by 5.0e-1, and 4e-6 is the most",
                "FAILED: LayerNorm 7x8 rows, backward: the device: no memory"
            ]
        );
    }
}
