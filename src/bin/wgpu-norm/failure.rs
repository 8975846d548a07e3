//! What the command can end with: a failure (exit status 1), wrong usage (2) or no adapter to compute on (3), each as one
//! paragraph that a person can act on.

use std::error::Error;
use std::io::{self, Write as _};

/// Why the command ends without having done what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line asks for something that makes no sense.
    Usage(String),
    /// The command line is right, but the work could not be done.
    Failed(String),
    /// There is no adapter, none of the name that was given, or none that can be used.
    NoAdapter(String),
}

/// The error and its causes as one line, each cause after a colon.
///
/// Many errors repeat their cause in their own text; such a cause is left out.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    one_line(&text)
}

/// `text` with every run of white space, line ends included, as one space.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `text` with control characters written out. Names in a file may have some, and a terminal would obey them.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

/// Says something that is worth knowing, but wrong with nothing.
pub(crate) fn note(text: &str) {
    // If standard error is closed, no one wants to know.
    let _ = writeln!(io::stderr(), "note: {}", printable(text));
}

/// Prints to standard output. Whoever closed it has read enough, so that is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
