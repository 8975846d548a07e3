//! The whole suite as one binary: linking wgpu once is enough.

mod accuracy;
mod buffers;
mod extremes;
mod golden;
mod golden_gpu;
mod golden_oracle;
mod misuse;
mod plans;
mod running;
mod shaders;
mod support;
