//! What has to hold of a `.npy` header before it is parsed.
//!
//! The header is a Python dictionary. The parser behind `npyz` reads any Python literal, and a made-up one can cost it
//! time without end or the stack (it parses what is in brackets several times, for each level of them), or an overflow
//! (the product of the dimensions). A header of a plain array has none of that, so anything else is refused here, and
//! `npyz` sees harmless text only.

use std::io::{self, Read};

const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy's own bound. A plain array has 64 axes at most, of 20 digits at most each.
const LONGEST: u64 = 10_000;
/// How deep brackets may be nested: enough for most structured types, which are then refused by name.
const DEEPEST: usize = 4;

/// Reads the magic string, the version and the header as one piece, which [`npyz`] may parse.
///
/// The reader is left at the first byte of the data.
pub(super) fn read(reader: &mut impl Read, file_length: u64) -> Result<Vec<u8>, String> {
    if file_length == 0 {
        return Err("the file is empty".to_owned());
    }
    let mut bytes = Vec::new();
    take(reader, 8, &mut bytes)?;
    let version = match bytes.strip_prefix(MAGIC) {
        Some(&[major, minor]) => (major, minor),
        _ => return Err(not_npy(&bytes)),
    };
    let size_bytes = match version {
        (1, 0) => 2,
        (2 | 3, 0) => 4,
        (major, minor) => {
            return Err(format!(
                "it is of version {major}.{minor} of the .npy format, and the versions known are \
                 1.0, 2.0 and 3.0"
            ));
        }
    };
    take(reader, size_bytes, &mut bytes)?;
    let length =
        bytes.get(8..).unwrap_or_default().iter().rev().fold(0_u64, |length, &byte| length << 8 | u64::from(byte));
    let left = file_length.saturating_sub(8 + size_bytes);
    if length > left {
        return Err(format!(
            "it is cut short or corrupt: its header is said to take {length} bytes, and {left} are \
             left in the file"
        ));
    }
    if length > LONGEST {
        return Err(format!("it is corrupt: a header of {length} bytes is longer than that of any plain array"));
    }
    let text_at = bytes.len();
    take(reader, length, &mut bytes)?;
    let text = bytes.get(text_at..).unwrap_or_default();
    match std::str::from_utf8(text) {
        Ok(text) => plain(text).map_err(|found| format!("its header is corrupt: {found}"))?,
        Err(_) => {
            return Err("its header isn't UTF-8 text, as that of a plain array is".to_owned());
        }
    }
    Ok(bytes)
}

/// Appends the next `count` bytes, or says that the file is too short for a header.
fn take(reader: &mut impl Read, count: u64, bytes: &mut Vec<u8>) -> Result<(), String> {
    match reader.by_ref().take(count).read_to_end(bytes) {
        Ok(read) if read as u64 == count => Ok(()),
        Ok(_) if bytes.starts_with(MAGIC) || MAGIC.starts_with(bytes) => {
            Err("it is cut short: it ends within its header".to_owned())
        }
        Ok(_) => Err(not_npy(bytes)),
        Err(error) => Err(super::said(&error)),
    }
}

/// Says what a file that does not begin like a `.npy` file may be.
fn not_npy(start: &[u8]) -> String {
    let hint = if start.starts_with(b"PK\x03\x04") {
        "it is a zip archive, like .npz and .pt files: save the one array with numpy.save"
    } else if start.get(2..8) == Some(&[0; 6]) {
        "if it is a safetensors file, its name has to end in .safetensors"
    } else {
        "write one with numpy.save"
    };
    format!("it isn't a .npy file, as its first bytes show ({hint})")
}

/// Whether the text holds nothing but what NumPy writes for an array: brackets, plain strings,
/// whole numbers whose product is within bounds, `True` and `False`.
fn plain(text: &str) -> Result<(), String> {
    let mut depth = 0_usize;
    let mut dictionaries = 0_usize;
    let mut product = 1_u64;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '{' | '[' | '(' => {
                depth += 1;
                dictionaries += usize::from(first == '{');
                if depth > DEEPEST || dictionaries > 1 {
                    return Err("its brackets are nested too deeply".to_owned());
                }
                1
            }
            '}' | ']' | ')' => {
                depth = depth.saturating_sub(1);
                1
            }
            ',' | ':' | ' ' | '\t' | '\n' => 1,
            '\'' | '"' => string(rest, first)?,
            '0'..='9' => {
                let digits = run(rest, |c| c.is_ascii_digit());
                // Dimensions only: the numbers of a type stand within its string.
                product = digits
                    .parse::<u64>()
                    .ok()
                    .and_then(|dim| product.checked_mul(dim.max(1)))
                    .filter(|&product| i64::try_from(product).is_ok())
                    .ok_or_else(|| "its shape is larger than any memory".to_owned())?;
                digits.len()
            }
            '-' => return Err("it has a negative number, which no dimension is".to_owned()),
            _ if first.is_ascii_alphabetic() => {
                let word = run(rest, |c| c.is_ascii_alphanumeric());
                if !matches!(word, "True" | "False") {
                    return Err(format!("the word `{word}` has no place in it"));
                }
                word.len()
            }
            _ => return Err(format!("the character {first:?} has no place in it")),
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(())
}

/// The length of the string literal that `text` begins with.
fn string(text: &str, quote: char) -> Result<usize, String> {
    for (at, c) in text.char_indices().skip(1) {
        if c == quote {
            return Ok(at + 1);
        }
        if c == '\\' || c.is_control() {
            return Err(format!("the character {c:?} has no place in a string"));
        }
    }
    Err("a string in it does not end".to_owned())
}

/// The longest start of `text` whose characters all `belong`.
fn run(text: &str, belong: impl Fn(char) -> bool) -> &str {
    text.split(|c| !belong(c)).next().unwrap_or_default()
}

/// The error of [`npyz`] in one line: its parser draws a picture of where it stopped.
pub(super) fn said(error: &io::Error) -> String {
    let text = error.to_string();
    if text.contains('\n') {
        return "its header is corrupt: it isn't the Python dictionary that the format asks for".to_owned();
    }
    if text.starts_with("invalid type string") {
        return "its header is corrupt: its `descr` is no type of NumPy's".to_owned();
    }
    format!("its header is corrupt: {text}")
}
