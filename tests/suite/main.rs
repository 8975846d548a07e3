//! The whole suite as one binary: linking wgpu once is enough.

mod accuracy;
mod buffers;
mod command;
mod command_files;
mod examples;
mod extremes;
mod golden;
mod golden_gpu;
mod golden_oracle;
mod misuse;
mod plans;
mod running;
mod shaders;
mod support;
mod windows;
