//! The whole suite as one binary: linking wgpu once is enough.

mod accuracy;
mod backward;
mod bench;
mod buffers;
mod coming_from;
mod command;
mod command_files;
mod command_plan;
mod contexts;
mod doctor;
mod examples;
mod extremes;
mod golden;
mod golden_gpu;
mod golden_oracle;
mod misuse;
mod nn;
mod nn_state;
mod onnx;
mod plans;
mod properties;
mod recording;
mod running;
mod shaders;
mod support;
mod windows;
