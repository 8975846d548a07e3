//! An input of the command line: found before anything is read, read when its turn comes.

use std::path::{Path, PathBuf};

use wgpu_norm::Element;
use wgpu_norm::sample::stored;

use super::{Loaded, Location, name};
use crate::failure::{Failure, note};

/// The option that names an input, and where it lies.
pub(crate) struct Input {
    option: &'static str,
    location: Location,
    read: Read,
}

/// What an input is, as the library names it, and the path as given.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl Input {
    pub(crate) fn locate(option: &'static str, path: &Path) -> Result<Self, Failure> {
        let read = Read { name: option.trim_start_matches('-').replace('-', "_"), path: path.to_owned() };
        Ok(Self { option, location: Location::of_input(option, path)?, read })
    }

    /// That of an option that may be left out.
    pub(crate) fn locate_if(option: &'static str, path: Option<&PathBuf>) -> Result<Option<Self>, Failure> {
        path.map(|path| Self::locate(option, path)).transpose()
    }

    /// Reads it beside an input that is stored as `x`, [exactly](Loaded::exact) or not, and says on standard error if it was converted.
    pub(crate) fn load(&self, exactly: bool, x: Element) -> Result<Loaded, Failure> {
        let Self { option, location, read } = self;
        let element = stored(&read.name, x);
        let loaded = location.load(option, exactly, element)?;
        if let Some(from) = loaded.converted_from {
            let mut text = format!("{location} ({option}) is {from} and was converted to {}", name(element));
            // As this command writes bfloat16 where there is no such type.
            if (from, element) == ("uint16", Element::Bf16) {
                text.push_str(", integer by integer; bits of bfloat16 are read from a safetensors file");
            }
            note(&text);
        }
        Ok(Loaded { read: Some(read.clone()), ..loaded })
    }
}
