//! The whole suite as one binary: linking wgpu once is enough.

mod accuracy;
mod golden;
mod golden_oracle;
mod support;
