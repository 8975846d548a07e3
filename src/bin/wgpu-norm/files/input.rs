//! An input of the command line: found before anything is read, read when its turn comes.

use std::path::Path;

use wgpu_norm::Element;

use super::{Loaded, Location, name};
use crate::failure::{Failure, note};

/// The option that names an input, and where it lies.
pub(crate) struct Input {
    option: &'static str,
    location: Location,
}

impl Input {
    pub(crate) fn locate(option: &'static str, path: &Path) -> Result<Self, Failure> {
        Ok(Self { option, location: Location::of_input(option, path)? })
    }

    /// Reads it as what is stored as `element`, [exactly](Loaded::exact) or not, and says on standard error if it was converted.
    pub(crate) fn load(&self, exactly: bool, element: Element) -> Result<Loaded, Failure> {
        let Self { option, location } = self;
        let loaded = location.load(option, exactly, element)?;
        if let Some(from) = loaded.converted_from {
            let mut text = format!("{location} ({option}) is {from} and was converted to {}", name(element));
            // As this command writes bfloat16 where there is no such type.
            if (from, element) == ("uint16", Element::Bf16) {
                text.push_str(", integer by integer; bits of bfloat16 are read from a safetensors file");
            }
            note(&text);
        }
        Ok(loaded)
    }
}
