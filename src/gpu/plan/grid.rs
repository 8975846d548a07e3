//! Workgroups on a two-dimensional grid, since one dimension ends at 65,535.

use super::Capabilities;
use crate::error::SpecError;

/// `width * height` workgroups, of which the first `workgroups` have work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    pub(crate) workgroups: u64,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Grid {
    pub(super) fn new(norm: &'static str, workgroups: u64, capabilities: &Capabilities) -> Result<Self, SpecError> {
        let most = u64::from(capabilities.max_workgroups.max(1));
        let height = workgroups.div_ceil(most).max(1);
        let limit = SpecError::Limit {
            norm,
            what: "the dispatch",
            needs: workgroups,
            unit: "workgroups",
            limit: "max_compute_workgroups_per_dimension, squared,",
            has: most * most,
        };
        // As few idle workgroups as can be: fewer than one a line of the grid.
        let width = workgroups.div_ceil(height);
        match (u32::try_from(width), u32::try_from(height)) {
            (Ok(width), Ok(height)) if u64::from(height) <= most => Ok(Self { workgroups, width, height }),
            _ => Err(limit),
        }
    }
}
