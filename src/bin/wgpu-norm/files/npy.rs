//! Reading `.npy` files, NumPy's format for one array.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use half::f16;
use npyz::{DType, Deserialize, NpyFile, NpyHeader, Order, TypeChar, TypeStr};

use super::values::{self, Element};
use super::{ACCEPTED, Loaded, npy_header};
use crate::progress::Progress;

/// How many values are read between two moves of the progress bar.
const STRIDE: usize = 1 << 20;

/// Reads the array, of any order of bytes and axes.
pub(super) fn read(path: &Path) -> Result<Loaded, String> {
    let (file, file_length) = super::open(path)?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let head = npy_header::read(&mut reader, file_length)?;
    let header = NpyHeader::from_reader(head.as_slice()).map_err(|error| npy_header::said(&error))?;
    let dtype = header.dtype();
    let DType::Plain(kind) = &dtype else {
        return Err(format!("its dtype is a structured type; {ACCEPTED}"));
    };
    let data_length = file_length.saturating_sub(head.len() as u64);
    let source = Source { path, reader, data_length, header };
    match (kind.type_char(), kind.size_field()) {
        (TypeChar::Float, 2) => source.read::<f16>(),
        (TypeChar::Float, 4) => source.read::<f32>(),
        (TypeChar::Float, 8) => source.read::<f64>(),
        _ => Err(format!("its dtype is {}; {ACCEPTED}", named(kind))),
    }
}

/// NumPy's name of a type that is not read.
fn named(kind: &TypeStr) -> String {
    let bits = kind.size_field().saturating_mul(8);
    match kind.type_char() {
        TypeChar::Bool => "bool".to_owned(),
        TypeChar::Int => format!("int{bits}"),
        TypeChar::Uint => format!("uint{bits}"),
        TypeChar::Float => format!("float{bits}"),
        TypeChar::Complex => format!("complex{bits}"),
        TypeChar::TimeDelta => "timedelta64".to_owned(),
        TypeChar::DateTime => "datetime64".to_owned(),
        TypeChar::ByteStr => "bytes".to_owned(),
        TypeChar::UnicodeStr => "str".to_owned(),
        TypeChar::Object => "object (a pickle)".to_owned(),
        // What NumPy writes for the types of ml_dtypes, bfloat16 among them.
        TypeChar::RawData if kind.size_field() == 2 => {
            "void16, raw bytes, which is how NumPy writes bfloat16 too: save it as float32, or as \
             BF16 in a safetensors file"
                .to_owned()
        }
        TypeChar::RawData => format!("void{bits}, raw bytes of no known meaning"),
        _ => kind.to_string(),
    }
}

/// A file whose header is read.
struct Source<'a> {
    path: &'a Path,
    reader: BufReader<File>,
    data_length: u64,
    header: NpyHeader,
}

impl Source<'_> {
    /// Reads the data as values of type `T`.
    fn read<T: Element + Deserialize + Into<f64>>(self) -> Result<Loaded, String> {
        let shape = self
            .header
            .shape()
            .iter()
            .map(|&dim| usize::try_from(dim))
            .collect::<Result<Vec<usize>, _>>()
            .map_err(|_| "its shape is larger than any memory".to_owned())?;
        let fortran = self.header.order() == Order::Fortran;
        let count = super::elements(&shape)?;
        let expected = count as u64 * size_of::<T>() as u64;
        if self.data_length != expected {
            let bytes = self.data_length;
            return Err(if bytes < expected {
                format!(
                    "it is cut short or corrupt: its shape {shape:?} takes {expected} bytes of data, \
                     and it has {bytes}"
                )
            } else {
                format!(
                    "it has {bytes} bytes of data, and its shape {shape:?} takes only {expected}; it \
                     is corrupt, or several arrays were saved in one file"
                )
            });
        }
        let mut read = values::room(count)?;
        let progress = Progress::bytes(format!("reading {}", self.path.display()), expected);
        let data = NpyFile::with_header(self.header, self.reader).data::<T>().map_err(|error| error.to_string())?;
        for (position, value) in data.enumerate() {
            let value = value.map_err(|error| super::said(&error))?;
            match value.to_f32() {
                Some(narrow) => read.push(narrow),
                None => return Err(values::overflow(value.into(), position, &shape, fortran)),
            }
            if position % STRIDE == STRIDE - 1 {
                progress.advance((STRIDE * size_of::<T>()) as u64);
            }
        }
        Ok(Loaded { values: super::assemble(&shape, fortran, read)?, converted_from: T::CONVERTED })
    }
}
