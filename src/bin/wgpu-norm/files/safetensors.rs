//! Reading one tensor of a `.safetensors` file, without reading the others.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::values::{self, Element};
use super::{ACCEPTED, Loaded};
use crate::failure::one_line;
use crate::progress::Progress;

/// The longest header that the format's own library reads.
const LONGEST: u64 = 100_000_000;
/// How many names a message lists.
const LISTED: usize = 10;
/// How many values are converted at a time.
const CHUNK: usize = 1 << 18;

/// The header of an open file.
struct Header {
    file: File,
    metadata: Metadata,
    /// Where the data begin.
    data_at: u64,
}

/// Reads the tensor `name`.
pub(super) fn read(path: &Path, name: &str) -> Result<Loaded, String> {
    let header = open(path)?;
    let Some(info) = header.metadata.info(name) else {
        return Err(format!("the file has no tensor of that name; {}", listing(&sorted(&header.metadata))));
    };
    let progress = Progress::bytes(
        format!("reading {}:{name}", path.display()),
        info.data_offsets.1.saturating_sub(info.data_offsets.0).try_into().unwrap_or(u64::MAX),
    );
    let data = Data { file: &header.file, data_at: header.data_at, info, progress };
    match info.dtype {
        Dtype::F32 => data.read(f32::from_le_bytes),
        Dtype::F64 => data.read(f64::from_le_bytes),
        Dtype::F16 => data.read(f16::from_le_bytes),
        Dtype::BF16 => data.read(bf16::from_le_bytes),
        other => Err(format!("its dtype is {}; {ACCEPTED}", named(other))),
    }
}

/// The names of all tensors in the file.
pub(super) fn names(path: &Path) -> Result<Vec<String>, String> {
    Ok(sorted(&open(path)?.metadata))
}

fn sorted(metadata: &Metadata) -> Vec<String> {
    let mut names = metadata.offset_keys();
    names.sort();
    names
}

/// The first of the names, as the end of a sentence.
pub(super) fn listing(names: &[String]) -> String {
    let first: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    let first = first.join(", ");
    match names.len() {
        0 => "it has none".to_owned(),
        1 => format!("it has one, {first}"),
        count if count > LISTED => format!("it has {count}, the first of them {first}"),
        _ => format!("it has {first}"),
    }
}

/// Opens the file and checks its header against its length.
fn open(path: &Path) -> Result<Header, String> {
    let (mut file, file_length) = super::open(path)?;
    if file_length == 0 {
        return Err("the file is empty".to_owned());
    }
    let mut prefix = [0_u8; 8];
    if file_length < prefix.len() as u64 {
        return Err("it is cut short: it ends within the length of its header".to_owned());
    }
    file.read_exact(&mut prefix).map_err(|error| super::said(&error))?;
    let length = u64::from_le_bytes(prefix);
    let left = file_length.saturating_sub(prefix.len() as u64);
    if length > left || length > LONGEST {
        return Err(format!(
            "it is cut short, corrupt, or no safetensors file: its header is said to take {length} \
             bytes, and {left} are left in the file"
        ));
    }
    let mut text = Vec::new();
    (&file).take(length).read_to_end(&mut text).map_err(|error| super::said(&error))?;
    // This checks, too, that the tensors lie one after the other, and that each is as long as
    // its shape and type say.
    let metadata: Metadata = serde_json::from_slice(&text)
        .map_err(|error| format!("its header is corrupt: {}", one_line(&error.to_string())))?;
    let data_at = prefix.len() as u64 + length;
    let expected = metadata.data_len() as u64;
    let found = file_length.saturating_sub(data_at);
    if found != expected {
        return Err(format!(
            "it is {}: its tensors take {expected} bytes, and {found} follow its header",
            if found < expected { "cut short" } else { "corrupt" }
        ));
    }
    Ok(Header { file, metadata, data_at })
}

/// What a type that is not read is called, with a word on those whose code says little.
fn named(dtype: Dtype) -> String {
    match dtype {
        Dtype::BOOL => "BOOL (bool)".to_owned(),
        Dtype::C64 => "C64 (complex64)".to_owned(),
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => {
            format!("{dtype} (int{})", dtype.bitsize())
        }
        Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => {
            format!("{dtype} (uint{})", dtype.bitsize())
        }
        other => other.to_string(),
    }
}

/// The bytes of one tensor.
struct Data<'a> {
    file: &'a File,
    data_at: u64,
    info: &'a TensorInfo,
    progress: Progress,
}

impl Data<'_> {
    /// Reads values of `N` bytes each.
    fn read<T: Element + Into<f64>, const N: usize>(self, from_bytes: impl Fn([u8; N]) -> T) -> Result<Loaded, String> {
        let shape = &self.info.shape;
        let count = super::elements(shape)?;
        let mut read = values::room(count)?;
        let mut reader = BufReader::new(self.file);
        reader
            .seek(SeekFrom::Start(self.data_at + self.info.data_offsets.0 as u64))
            .map_err(|error| super::said(&error))?;
        let mut buffer = vec![0_u8; CHUNK.min(count) * N];
        while read.len() < count {
            buffer.truncate((count - read.len()) * N);
            reader.read_exact(&mut buffer).map_err(|error| super::said(&error))?;
            for bytes in buffer.chunks_exact(N) {
                let mut element = [0_u8; N];
                element.copy_from_slice(bytes);
                let value = from_bytes(element);
                match value.to_f32() {
                    Some(narrow) => read.push(narrow),
                    None => {
                        return Err(values::overflow(value.into(), read.len(), shape, false));
                    }
                }
            }
            self.progress.advance(buffer.len() as u64);
        }
        Ok(Loaded { values: super::assemble(shape, false, read)?, converted_from: T::CONVERTED })
    }
}
