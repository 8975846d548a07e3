//! The same cases in an earlier run.

use super::report::{Report, Row};

/// How many cases are named where they are no news.
const NAMED: usize = 3;

pub(crate) struct Comparison {
    /// Where the earlier run was read from.
    pub(crate) file: String,
    pub(crate) old: Report,
}

impl Comparison {
    /// The row of the same case.
    fn of(&self, row: &Row) -> Option<&Row> {
        self.old.cases.iter().find(|old| old.identity() == row.identity())
    }

    /// The ratio to copy of the earlier run, if it has the case.
    pub(crate) fn ratio(&self, row: &Row) -> Option<f64> {
        Some(self.of(row)?.speed()?.ratio_to_copy)
    }

    /// The earlier ratio, and what became of it and of the time, each over what it was.
    pub(crate) fn cells(&self, row: &Row) -> [String; 3] {
        let Some(old) = self.of(row) else { return ["not there", "", ""].map(str::to_owned) };
        match (old.speed(), row.speed()) {
            (None, _) => ["failed", "", ""].map(str::to_owned),
            (Some(old), None) => [format!("{:.2}", old.ratio_to_copy), String::new(), String::new()],
            (Some(old), Some(new)) => [
                format!("{:.2}", old.ratio_to_copy),
                format!("{:.2}x", new.ratio_to_copy / old.ratio_to_copy),
                format!("{:.2}x", new.seconds / old.seconds),
            ],
        }
    }

    /// The cases that only one of the runs has. Of a run that was of some norms only, cases that are not in it are no news.
    pub(crate) fn notes(&self, new: &Report, some_only: bool) -> String {
        let mut notes = String::new();
        let missing = |rows: &Report, there: &dyn Fn(&Row) -> bool| {
            let names: Vec<String> = rows.cases.iter().filter(|row| !there(row)).map(Row::name).collect();
            if some_only && names.len() > NAMED { format!("{} cases", names.len()) } else { names.join("; ") }
        };
        let added = missing(new, &|row| self.of(row).is_some());
        let gone = missing(&self.old, &|old| new.cases.iter().any(|row| row.identity() == old.identity()));
        for (what, rows) in [("in this run only", added), ("in that file only", gone)] {
            if !rows.is_empty() {
                notes.push_str(&format!("{what}: {rows}\n"));
            }
        }
        notes
    }
}
