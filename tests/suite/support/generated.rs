//! Files that tests hold to what the library does, and write anew with `WGPU_NORM_WRITE=1`.

use std::fs;
use std::path::{Path, PathBuf};

/// The path of a file of the repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Holds a whole file to what it should be.
pub fn generated(path: &Path, wanted: &str) {
    if std::env::var_os("WGPU_NORM_WRITE").is_some() {
        return fs::write(path, wanted).unwrap();
    }
    let there = fs::read_to_string(path).unwrap();
    let lines = there.lines().zip(wanted.lines());
    let first = lines.enumerate().find(|(_, (there, wanted))| there != wanted);
    assert!(
        there == wanted,
        "{} is out of date, first at {first:?}: run this test once with WGPU_NORM_WRITE=1",
        path.display()
    );
}

/// The same of parts of a file, each between a comment with its name and one with the end.
pub fn generated_parts(path: &Path, parts: &[(&str, String)]) {
    let mut text = fs::read_to_string(path).unwrap();
    for (part, wanted) in parts {
        let head = format!("<!-- generated: {part} -->\n");
        let (before, rest) = text.split_once(&head).unwrap_or_else(|| panic!("no {part} in {}", path.display()));
        let (_, after) = rest.split_once("<!-- end -->").unwrap();
        text = format!("{before}{head}\n{wanted}\n<!-- end -->{after}");
    }
    generated(path, &text);
}
