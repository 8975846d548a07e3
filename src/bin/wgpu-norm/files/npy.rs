//! `.npy` files, NumPy's format for one array.

use std::io::{self, BufReader};
use std::path::Path;

use wgpu_norm::Element;

use super::values::Data;
use super::{Loaded, npy_header};
use crate::progress::Progress;

/// Reads the array, of any order of bytes and axes.
pub(super) fn read(path: &Path, exactly: bool, element: Element) -> Result<Loaded, String> {
    let (file, file_length) = super::open(path)?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let header = npy_header::read(&mut reader, file_length)?;
    let length = file_length.saturating_sub(header.length);
    let progress = Progress::bytes(format!("reading {}", path.display()), length);
    let npy_header::Header { dtype, big_endian, fortran, ref shape, .. } = header;
    Data { reader, length, shape, fortran, big_endian, exactly, element, progress }.read(dtype)
}

/// What comes before the values of a file in C order, in version 1.0 of the format.
pub(super) fn header(shape: &[usize], element: Element) -> io::Result<Vec<u8>> {
    let descr = match element {
        Element::F16 => "<f2",
        // NumPy has no bfloat16: its bits.
        Element::Bf16 => "<u2",
        _ => "<f4",
    };
    let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let comma = if dims.len() == 1 { "," } else { "" };
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}{comma}), }}", dims.join(", "));
    // The data start at a multiple of 64, after the magic string, the version and the length of the header.
    const BEFORE: usize = 10;
    let length = (BEFORE + text.len() + 1).next_multiple_of(64) - BEFORE;
    let bytes = u16::try_from(length).map_err(|_| io::Error::other("it has too many axes for a .npy file"))?;
    let header = format!("{text:width$}\n", width = length - 1);
    Ok([b"\x93NUMPY\x01\x00", &bytes.to_le_bytes()[..], header.as_bytes()].concat())
}
