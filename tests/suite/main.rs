//! The whole suite as one binary: linking wgpu once is enough. Without the oracle there is nothing to hold results to.
#![cfg(feature = "ndarray")]

mod accuracy;
mod backward;
mod backward_buffers;
mod backward_properties;
mod backward_slabs;
#[cfg(feature = "cli")]
mod bench;
mod buffers;
mod coming_from;
#[cfg(feature = "cli")]
mod command;
#[cfg(feature = "cli")]
mod command_files;
#[cfg(feature = "cli")]
mod command_grad;
#[cfg(feature = "cli")]
mod command_plan;
mod contexts;
mod degenerate;
mod device;
#[cfg(feature = "cli")]
mod doctor;
#[cfg(feature = "cli")]
mod example_programs;
mod examples;
mod extremes;
mod golden;
mod golden_gpu;
mod golden_oracle;
mod lost;
mod misuse;
mod nn;
mod nn_instances;
mod nn_options;
#[cfg(feature = "safetensors")]
mod nn_state;
#[cfg(feature = "safetensors")]
mod onnx;
mod parts;
mod plans;
mod probe;
mod properties;
mod range;
mod recording;
mod running;
mod seed;
mod shaders;
mod support;
mod windows;
