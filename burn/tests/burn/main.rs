//! All tests of the package, as one binary: burn is linked once.

#[path = "../../examples/step/models.rs"]
mod models;
mod support;

mod fallback;
mod gradients;
mod memory;
mod records;
mod training;
mod values;
