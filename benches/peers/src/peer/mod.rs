//! Who is compared, and what each can do.

mod burn;
mod ndarray;
mod ours;
mod torch;

use std::error::Error;
use std::fmt;
use std::path::Path;

use clap::ValueEnum;

use crate::case::Case;
use crate::data::Tensors;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    Ours,
    Burn,
    Ndarray,
    Torch,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ours => "wgpu-norm",
            Self::Burn => "burn",
            Self::Ndarray => "ndarray",
            Self::Torch => "torch",
        })
    }
}

pub trait Peer {
    /// Its version, and what it runs on.
    fn about(&self) -> String;

    /// Brings the data to where the peer computes.
    fn prepare(&mut self, case: &Case, tensors: &Tensors) -> Result<Box<dyn Call + '_>, Box<dyn Error>>;
}

/// A norm with its data in place.
pub trait Call {
    /// One call's results: `y`, or the gradients of `x`, weight and, if there is one, bias. In the order of `x`.
    fn results(&mut self) -> Result<Vec<Vec<f32>>, Box<dyn Error>>;

    /// The seconds that so many calls take together, from the first to the end of the last.
    fn run(&mut self, calls: u32) -> Result<f64, Box<dyn Error>>;
}

/// Why there is no such peer on this machine.
#[derive(Debug)]
pub struct NotInstalled(pub String);

impl fmt::Display for NotInstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not installed: {}", self.0)
    }
}

impl Error for NotInstalled {}

impl Name {
    pub fn open(self, python: &Path) -> Result<Box<dyn Peer>, Box<dyn Error>> {
        Ok(match self {
            Self::Ours => Box::new(ours::Ours::open()?),
            Self::Burn => Box::new(burn::Burn::open()?),
            Self::Ndarray => Box::new(ndarray::Ndarray),
            Self::Torch => Box::new(torch::Torch::open(python)?),
        })
    }
}

/// The version of a crate that this was built with: of several the newest, which is the last.
fn locked_version(name: &str) -> &'static str {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let after = include_str!("../../Cargo.lock").rsplit_once(&entry).map(|(_, after)| after);
    after.and_then(|after| after.split('"').next()).unwrap_or("of unknown version")
}
