//! The whole suite as one binary: linking wgpu once is enough. Without the oracle there is nothing to hold results to.
#![cfg(feature = "ndarray")]

mod accuracy;
mod activation;
mod arrays;
mod axes;
mod backward;
mod buffers;
mod combinations;
mod coming_from;
#[cfg(feature = "cli")]
mod command;
mod contexts;
mod cpu;
mod degenerate;
#[cfg(feature = "cli")]
mod example_programs;
mod examples;
mod extremes;
mod gate;
mod golden;
mod halves;
mod heads;
#[cfg(feature = "safetensors")]
mod lost;
mod misuse;
mod modulation;
mod nn;
mod parts;
mod plans;
mod platforms;
mod probe;
mod properties;
mod range;
mod recording;
mod residuals;
mod results;
mod rounding;
mod running;
mod seed;
mod shaders;
mod shaders_readme;
mod strides;
mod support;
mod windows;
