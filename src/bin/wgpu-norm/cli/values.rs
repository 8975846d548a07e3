//! What the values of options can be.

use std::num::{IntErrorKind, NonZeroUsize, ParseIntError};
use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use wgpu_norm::sample::{self, Kind};
use wgpu_norm::{Activation, Element};

use super::Device;

/// A norm, by its word.
pub(super) fn norm() -> impl TypedValueParser<Value = Kind> {
    let words = Kind::ALL.map(|kind| PossibleValue::new(kind.word()).help(kind.entry().help));
    PossibleValuesParser::new(words).try_map(|word| Kind::named(&word).ok_or("there is no such norm"))
}

/// A storage type, by its word.
pub(super) fn element(text: &str) -> Result<Element, String> {
    sample::element(text).ok_or_else(|| "must be f32, f16 or bf16".to_owned())
}

/// The word of an activation.
pub(crate) fn word(activation: Activation) -> &'static str {
    match activation {
        Activation::Relu => "relu",
        Activation::Silu => "silu",
        Activation::Gelu => "gelu",
        _ => "gelu-tanh",
    }
}

/// An activation, by its word.
pub(super) fn activation(text: &str) -> Result<Activation, String> {
    let named = Activation::ALL.into_iter().find(|&activation| word(activation) == text);
    named.ok_or_else(|| "must be relu, silu, gelu or gelu-tanh".to_owned())
}

/// The lengths of some axes. A type of its own, because clap takes a `Vec` for several values.
#[derive(Clone, Debug)]
pub(crate) struct Lengths(pub(crate) Vec<usize>);

pub(super) fn lengths(text: &str) -> Result<Lengths, String> {
    numbers(text, &[','], "must be lengths with commas between them, as in 8,64").map(Lengths)
}

/// Whole numbers with one of these between them.
fn numbers<N: FromStr<Err = ParseIntError>>(text: &str, between: &[char], must: &str) -> Result<Vec<N>, String> {
    text.split(between).map(|part| number(part.trim(), must)).collect()
}

fn number<N: FromStr<Err = ParseIntError>>(text: &str, must: &str) -> Result<N, String> {
    text.parse().map_err(|error: ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => {
            "must be nearer to 0: no tensor is as large".to_owned()
        }
        _ => must.to_owned(),
    })
}

/// A list of axes; see [`Lengths`]. It lives as long as the process, which reads one command line.
#[derive(Clone, Debug)]
pub(crate) struct AxisList(pub(crate) &'static [isize]);

pub(super) fn axes(text: &str) -> Result<AxisList, String> {
    numbers(text, &[','], "must be axes with commas between them, as in 0,2,3 or -2,-1")
        .map(|axes| AxisList(axes.leak()))
}

pub(super) fn power(text: &str) -> Result<u32, String> {
    match text {
        "1" => Ok(1),
        "2" => Ok(2),
        _ => Err("must be 1 or 2".to_owned()),
    }
}

pub(super) fn axis(text: &str) -> Result<isize, String> {
    number(text, "must be a whole number")
}

pub(super) fn groups(text: &str) -> Result<NonZeroUsize, String> {
    number(text, "must be a whole number, at least 1")
}

pub(super) fn finite(text: &str) -> Result<f32, String> {
    // Straight to float32: by way of float64 it would be rounded twice.
    let value = text.parse::<f32>().map_err(|_| "must be a number".to_owned())?;
    if !value.is_finite() {
        return Err("must be finite in float32".to_owned());
    }
    Ok(value)
}

pub(super) fn eps(text: &str) -> Result<f32, String> {
    let value = finite(text)?;
    if value < 0.0 {
        return Err("must be at least 0".to_owned());
    }
    // Also of what is 0 in float64.
    let digits = text.split(['e', 'E']).next().unwrap_or_default();
    if value == 0.0 && digits.contains(|digit: char| ('1'..='9').contains(&digit)) {
        return Err("is too small for float32, where it is 0".to_owned());
    }
    Ok(value)
}

pub(super) fn momentum(text: &str) -> Result<f32, String> {
    match finite(text)? {
        value if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("must be in 0 to 1".to_owned()),
    }
}

pub(super) fn device(text: &str) -> Result<Device, String> {
    match text {
        // An empty environment variable is as good as none.
        "auto" | "" => Ok(Device::Auto),
        "gpu" => Ok(Device::Gpu),
        "cpu" => Ok(Device::Cpu),
        _ => Err("must be auto, gpu or cpu (the environment variable WGPU_NORM_DEVICE is \
                  where it comes from if --device isn't given)"
            .to_owned()),
    }
}

/// A shape; see [`Lengths`].
#[derive(Clone, Debug)]
pub(crate) struct Dims(pub(crate) Vec<usize>);

pub(super) fn dims(text: &str) -> Result<Dims, String> {
    numbers(text, &['x', 'X'], "must be lengths with x between them, as in 4096x768").map(Dims)
}
