//! One check: a case, planned and bound one way, on one kind of data.

use super::cases::{Case, Data, Way};
use crate::element::Element;
use crate::reference::TOLERANCE;

/// One norm, or its gradients, of one shape: planned and bound one way, on one kind of data, and compared with float64.
#[derive(Clone, Debug)]
pub struct Check {
    pub(super) case: &'static Case,
    pub(super) plan: String,
    pub(super) way: Way,
    pub(super) data: Data,
    pub(super) error: Result<f64, String>,
}

impl Check {
    /// The norm: `layer`, `batch, training`, ...
    #[must_use]
    pub fn norm(&self) -> &'static str {
        self.case.kind.entry().label
    }

    /// What follows the norm in the same pass, in words; nothing where nothing does.
    #[must_use]
    pub fn following(&self) -> String {
        self.case.following.to_string().trim_start_matches(", ").to_owned()
    }

    /// Whether it is of the gradients.
    #[must_use]
    pub fn is_backward(&self) -> bool {
        self.case.backward
    }

    /// `rows`, `channels first`, ...
    #[must_use]
    pub fn layout(&self) -> &'static str {
        self.case.layout
    }

    /// The shape of `x`.
    #[must_use]
    pub fn shape(&self) -> &'static [usize] {
        self.case.shape
    }

    /// The kernels it ran as, in order.
    #[must_use]
    pub fn plan(&self) -> &str {
        &self.plan
    }

    /// How it was planned and bound: `as planned`, `without subgroups`, ...
    #[must_use]
    pub fn way(&self) -> &'static str {
        self.way.name()
    }

    /// What `x` and all tensors of its size were stored as.
    #[must_use]
    pub fn element(&self) -> Element {
        self.case.element
    }

    /// What the elements were: `mean 1e6`, `NaN in a group`, ...
    #[must_use]
    pub fn data(&self) -> &'static str {
        self.data.name(self.case.element)
    }

    /// The largest error of all that was computed, relative to its scale, beyond the rounding of a 16-bit type; infinite where there is NaN that should not be.
    ///
    /// # Errors
    ///
    /// Why nothing was computed, in words.
    pub fn error(&self) -> Result<f64, &str> {
        self.error.as_ref().map(|&error| error).map_err(String::as_str)
    }

    /// Whether the error is rounding: at most [`TOLERANCE`].
    #[must_use]
    pub fn passed(&self) -> bool {
        self.error.as_ref().is_ok_and(|&error| error <= TOLERANCE)
    }

    pub(super) fn size(&self) -> f64 {
        self.error.as_ref().map_or(f64::INFINITY, |&error| error)
    }

    pub(super) fn text(&self) -> String {
        let error = match &self.error {
            Ok(error) => format!("off by {error:.1e}"),
            Err(error) => error.clone(),
        };
        format!("{} ({}, {}): {error}", self.case.name(), self.way.name(), self.data())
    }
}
