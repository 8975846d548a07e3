//! `.safetensors` files: reading one tensor, without reading the others, and writing some.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use wgpu_norm::Element;
use wgpu_norm::nn::nearest;

use super::values::Data;
use super::{ACCEPTED, Loaded};
use crate::failure::one_line;
use crate::progress::Progress;

/// The longest header that the format's own library reads.
const LONGEST: u64 = 100_000_000;
/// How many names a message lists.
const LISTED: usize = 10;

/// The header of an open file.
struct Header {
    file: File,
    metadata: Metadata,
    /// Where the data begin.
    data_at: u64,
}

/// Reads the tensor `name`.
pub(super) fn read(path: &Path, name: &str, exactly: bool, element: Element) -> Result<Loaded, String> {
    let header = open(path)?;
    let Some(info) = header.metadata.info(name) else {
        return Err(format!("the file has no tensor of that name; {}", listing(&sorted(&header.metadata), Some(name))));
    };
    let dtype = match info.dtype {
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        Dtype::F32 => "float32",
        Dtype::F64 => "float64",
        Dtype::BOOL => "bool",
        Dtype::I8 => "int8",
        Dtype::I16 => "int16",
        Dtype::I32 => "int32",
        Dtype::I64 => "int64",
        Dtype::U8 => "uint8",
        Dtype::U16 => "uint16",
        Dtype::U32 => "uint32",
        Dtype::U64 => "uint64",
        Dtype::C64 => return Err(format!("its dtype is C64 (complex64); {ACCEPTED}")),
        other => return Err(format!("its dtype is {other}; {ACCEPTED}")),
    };
    let (from, to) = info.data_offsets;
    let length = to.saturating_sub(from) as u64;
    let mut reader = BufReader::new(&header.file);
    reader.seek(SeekFrom::Start(header.data_at + from as u64)).map_err(|error| super::said(&error))?;
    let progress = Progress::bytes(format!("reading {}:{name}", path.display()), length);
    let shape = &info.shape;
    Data { reader, length, shape, fortran: false, big_endian: false, exactly, element, progress }.read(dtype)
}

/// What comes before the values of tensors of these names, shapes and types, which lie one after the other.
pub(super) fn header<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a [usize], Element)>) -> io::Result<Vec<u8>> {
    let mut end = 0;
    let infos = tensors.into_iter().map(|(name, shape, element)| {
        let dtype = match element {
            Element::F16 => Dtype::F16,
            Element::Bf16 => Dtype::BF16,
            _ => Dtype::F32,
        };
        let start = end;
        end += shape.iter().product::<usize>() * element.size() as usize;
        (name.to_owned(), TensorInfo { dtype, shape: shape.to_vec(), data_offsets: (start, end) })
    });
    let metadata = Metadata::new(None, infos.collect()).map_err(io::Error::other)?;
    let mut text = serde_json::to_vec(&metadata)?;
    // The data start at a multiple of 8.
    text.resize(text.len().next_multiple_of(8), b' ');
    Ok([&(text.len() as u64).to_le_bytes()[..], &text].concat())
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

/// Some of the names, those nearest to the one that was asked for or else the first, as the end of a sentence.
pub(super) fn listing(names: &[String], asked: Option<&str>) -> String {
    let all = names.iter().map(String::as_str);
    let (which, some) = match asked.filter(|_| names.len() > LISTED) {
        Some(asked) => ("nearest", nearest(asked, all, LISTED)),
        None => ("first", all.take(LISTED).collect()),
    };
    let some: Vec<String> = some.into_iter().map(|name| format!("`{name}`")).collect();
    let some = some.join(", ");
    match names.len() {
        0 => "it has none".to_owned(),
        1 => format!("it has one, {some}"),
        count if count > LISTED => format!("it has {count}, the {which} of them {some}"),
        _ => format!("it has {some}"),
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
