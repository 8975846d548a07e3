//! Tensors of 16-bit elements, f16 and bf16: every norm and layout, against the oracle, by the rounding of one storage.

use wgpu_norm::Element::{Bf16, F16, F32};

use crate::support::{Case, Gradient, every_kind, gpus};

/// Each kind with rows that fill words and quads, that are odd, and that are neither.
#[test]
fn forward() {
    for (kind, shape) in every_kind() {
        for element in [F16, Bf16] {
            Case::new(kind, &shape, 3.0).stored_as(element, F32).check();
            Case::new(kind, &shape, 0.0).stored_as(element, element).check();
        }
    }
}

#[test]
fn gradients() {
    for (kind, shape) in every_kind() {
        if !kind.has_backward() {
            continue;
        }
        for element in [F16, Bf16] {
            Gradient::new(kind, &shape, 3.0).stored_as(element, F32).check_all(gpus());
            Gradient::new(kind, &shape, 0.0).stored_as(element, element).check_all(gpus());
        }
    }
}
