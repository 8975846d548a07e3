//! Arrays in files: where an input lies, how it is read, and how outputs are written.
//!
//! Reading trusts nothing a file says about itself. What a header claims is held against the
//! length of the file before anything of the claimed size is allocated, so a truncated, corrupt
//! or lying file ends in an error that names what is wrong.

mod input;
mod npy;
mod npy_header;
mod output;
mod safetensors;
mod values;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ndarray::ArrayD;
use wgpu_norm::Element;

pub(crate) use self::input::{Input, Read};
pub(crate) use self::output::{ToWrite, Written, commit, targets, whole, write};
use crate::failure::Failure;

/// The element types that are read, as the end of a message.
const ACCEPTED: &str = "accepted are float32 and, converted to it, float64, float16, bfloat16, integers and bool";

/// A storage type, as files have it.
pub(crate) fn name(element: Element) -> &'static str {
    match element {
        Element::F16 => "float16",
        Element::Bf16 => "bfloat16",
        _ => "float32",
    }
}

/// Where an array lies, or is to lie.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Location {
    /// A `.npy` file.
    Npy(PathBuf),
    /// The tensor `name` of a `.safetensors` file.
    Tensor { file: PathBuf, name: String },
}

/// An array as read: as numbers of what it is stored as, and where that is not what the file holds, its own type.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) values: ArrayD<f32>,
    /// The file's own values, where it was asked for them and one was rounded.
    pub(crate) exact: Option<ArrayD<f64>>,
    pub(crate) converted_from: Option<&'static str>,
    /// None if it comes from no file.
    pub(crate) read: Option<Read>,
}

impl Loaded {
    /// One that comes from no file.
    pub(crate) fn of(values: ArrayD<f32>) -> Self {
        Self { values, exact: None, converted_from: None, read: None }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Npy(path) => write!(f, "`{}`", path.display()),
            Self::Tensor { file, name } => write!(f, "`{}:{name}`", file.display()),
        }
    }
}

impl Location {
    /// The location that an argument names: `array.npy`, or `file.safetensors:tensor`. Without a name, `found` says what is there.
    ///
    /// The split is after the first `.safetensors`, since a tensor's name may have colons too.
    fn parse(option: &str, argument: &Path, found: impl FnOnce(&Path) -> String) -> Result<Self, Failure> {
        const SUFFIX: &str = ".safetensors";
        let Some(text) = argument.to_str() else {
            if argument.to_string_lossy().contains(SUFFIX) {
                return Err(Failure::Usage(format!(
                    "{option}: `{}` isn't valid UTF-8, so the file and the tensor in it can't be \
                     told apart; rename the file",
                    argument.display()
                )));
            }
            return Ok(Self::Npy(argument.to_owned()));
        };
        let (file, name) = match text.split_once(".safetensors:") {
            Some((stem, name)) => (format!("{stem}{SUFFIX}"), name),
            None if text.ends_with(SUFFIX) => (text.to_owned(), ""),
            None => return Ok(Self::Npy(argument.to_owned())),
        };
        let file = PathBuf::from(file);
        if name.is_empty() {
            let shown = file.display();
            let found = found(&file);
            return Err(Failure::Usage(format!(
                "{option}: `{shown}` may hold many tensors, so add the name of one, as in \
                 `{shown}:NAME`{found}"
            )));
        }
        Ok(Self::Tensor { file, name: name.to_owned() })
    }

    /// That of an input.
    fn of_input(option: &str, argument: &Path) -> Result<Self, Failure> {
        Self::parse(option, argument, |file| match safetensors::names(file) {
            Ok(names) => format!("; {}", safetensors::listing(&names, None)),
            Err(reason) => format!("; its tensors can't be listed: {reason}"),
        })
    }

    /// Reads the array as what is stored as `element`, [exactly](Loaded::exact) or not. `option` is the argument that named it, for
    /// messages.
    fn load(&self, option: &str, exactly: bool, element: Element) -> Result<Loaded, Failure> {
        let loaded = match self {
            Self::Npy(path) => npy::read(path, exactly, element).map_err(|reason| {
                match path.to_str().and_then(|of| of.rsplit_once(':')) {
                    Some((file, _)) if !path.exists() && Path::new(file).exists() => {
                        format!("{reason}; only a .safetensors file holds tensors by name")
                    }
                    _ => reason,
                }
            }),
            Self::Tensor { file, name } => safetensors::read(file, name, exactly, element),
        };
        loaded.map_err(|reason| Failure::Failed(format!("cannot use {self} ({option}): {reason}")))
    }
}

/// Opens a regular file, and says how long it is.
fn open(path: &Path) -> Result<(File, u64), String> {
    // Looked at before it is opened, because opening a pipe would wait for its writer.
    let metadata = fs::metadata(path).map_err(|error| said(&error))?;
    if metadata.is_dir() {
        return Err("it is a directory, not a file".to_owned());
    }
    if !metadata.is_file() {
        return Err("it is not a regular file, whose length can be known before it is read".into());
    }
    let file = File::open(path).map_err(|error| said(&error))?;
    Ok((file, metadata.len()))
}

/// An input or output error in words.
fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::UnexpectedEof => {
            "the file ended while it was being read; is something else writing it?".to_owned()
        }
        _ => error.to_string(),
    }
}

/// The number of elements, or why no array can have this shape.
fn elements(shape: &[usize]) -> Result<usize, String> {
    // Axes of length 0 are left out, so that a shape whose other axes are out of all bounds is
    // refused even where the array is empty.
    let bytes = shape.iter().filter(|&&dim| dim != 0).try_fold(size_of::<f64>(), |bytes, &dim| bytes.checked_mul(dim));
    match bytes {
        Some(bytes) if isize::try_from(bytes).is_ok() => Ok(shape.iter().product()),
        _ => Err(format!("its shape {shape:?} is larger than any memory")),
    }
}
