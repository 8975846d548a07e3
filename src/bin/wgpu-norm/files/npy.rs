//! Reading `.npy` files, NumPy's format for one array.

use std::io::BufReader;
use std::path::Path;

use super::values::Data;
use super::{Loaded, npy_header};
use crate::progress::Progress;

/// Reads the array, of any order of bytes and axes.
pub(super) fn read(path: &Path, exactly: bool) -> Result<Loaded, String> {
    let (file, file_length) = super::open(path)?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let header = npy_header::read(&mut reader, file_length)?;
    let length = file_length.saturating_sub(header.length);
    let progress = Progress::bytes(format!("reading {}", path.display()), length);
    let npy_header::Header { dtype, big_endian, fortran, ref shape, .. } = header;
    Data { reader, length, shape, fortran, big_endian, exactly, progress }.read(dtype)
}
