//! The element types that are read, and their way to float32.

use half::{bf16, f16};

/// An element type of an input file.
pub(super) trait Element: Copy {
    /// The name of the type if it has to be converted.
    const CONVERTED: Option<&'static str>;
    /// The value in float32, or nothing if it is finite and float32 has no such value.
    fn to_f32(self) -> Option<f32>;
}

impl Element for f32 {
    const CONVERTED: Option<&'static str> = None;
    fn to_f32(self) -> Option<f32> {
        Some(self)
    }
}

impl Element for f64 {
    const CONVERTED: Option<&'static str> = Some("float64");
    fn to_f32(self) -> Option<f32> {
        let narrow = self as f32;
        (narrow.is_finite() || !self.is_finite()).then_some(narrow)
    }
}

impl Element for f16 {
    const CONVERTED: Option<&'static str> = Some("float16");
    fn to_f32(self) -> Option<f32> {
        Some(f32::from(self))
    }
}

impl Element for bf16 {
    const CONVERTED: Option<&'static str> = Some("bfloat16");
    fn to_f32(self) -> Option<f32> {
        Some(f32::from(self))
    }
}

/// An empty vector with room for `count` values, or why there is none.
pub(super) fn room(count: usize) -> Result<Vec<f32>, String> {
    let mut values = Vec::new();
    match values.try_reserve_exact(count) {
        Ok(()) => Ok(values),
        Err(_) => Err(format!("there is no memory for its {count} values")),
    }
}

/// Says which value float32 cannot hold; `position` counts in the order of the file.
pub(super) fn overflow(value: f64, position: usize, shape: &[usize], fortran: bool) -> String {
    format!(
        "its value {value:e} at index {:?} is beyond the largest float32, {:e}, which all work is \
         done in",
        index(position, shape, fortran),
        f32::MAX
    )
}

/// The index of the element that is `position`th in the file.
fn index(position: usize, shape: &[usize], fortran: bool) -> Vec<usize> {
    let mut rest = position;
    let mut step = |&dim: &usize| {
        let dim = dim.max(1);
        let at = rest % dim;
        rest /= dim;
        at
    };
    if fortran {
        shape.iter().map(&mut step).collect()
    } else {
        let mut index: Vec<usize> = shape.iter().rev().map(&mut step).collect();
        index.reverse();
        index
    }
}
