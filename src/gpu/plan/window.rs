//! Tensors larger than a binding: each pass is cut into windows, one dispatch each, that bind only their part of `x` and
//! `y`. Statistics, partials and parameters stay whole. Where runs share words of two 16-bit elements, a window of several is two dispatches.

use super::{Capabilities, Grid};
use crate::error::SpecError;
use crate::strides::Span;
use crate::tensors::{Cell, QUAD_BYTES};

/// The part of a pass that one dispatch does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    pub(crate) grid: Grid,
    /// The first of its tiles (columns: of its workgroups), counted over the whole pass, and how many there are.
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// What it binds of `x` and `y`, in elements.
    pub(crate) elements: Span,
    /// What it binds of weight and bias, if it lies within one run of `S` and they run along it.
    pub(crate) parameters: Option<Span>,
    /// What is the first in scratch: the group whose statistics, or the tile whose partial.
    pub(crate) first_record: u64,
}

/// More dispatches than this for one pass would take longer to record than to run.
const MOST_WINDOWS: u64 = 4096;

/// How tiles lie in memory: `units` runs of `length` elements, each of which is `parts` tiles. Tiles are numbered as they
/// lie, and only the last of a run may be shorter than `tile`.
pub(super) struct Layout {
    pub(super) units: u64,
    pub(super) length: u64,
    pub(super) parts: u64,
    pub(super) tile: u64,
}

/// Elements that surely fit a binding, wherever its tensor starts.
pub(super) fn most_elements(capabilities: &Capabilities) -> u64 {
    let quad = QUAD_BYTES;
    capabilities.max_binding.saturating_sub(capabilities.storage_alignment.max(quad) + quad) / Cell::Element.bytes()
}

/// Cuts a pass into as few windows as can be.
pub(super) fn cut(
    norm: &'static str,
    layout: &Layout,
    capabilities: &Capabilities,
    grid: impl Fn(u64) -> Result<Grid, SpecError>,
) -> Result<Vec<Window>, SpecError> {
    let Layout { units, length, parts, tile } = *layout;
    let most = most_elements(capabilities);
    let too_large = |needs: u64| SpecError::Limit {
        norm,
        what: "x, in windows",
        needs: needs.max(capabilities.max_binding.saturating_add(1)),
        unit: "bytes",
        limit: "max_storage_buffer_binding_size",
        has: capabilities.max_binding,
    };
    let mut windows = Vec::new();
    let whole = most / length.max(1);
    if whole >= 1 {
        if units.div_ceil(whole) > MOST_WINDOWS {
            return Err(too_large(units * length * Cell::Element.bytes() / MOST_WINDOWS));
        }
        for unit in (0..units).step_by(whole as usize) {
            let count = whole.min(units - unit);
            windows.push(Window {
                grid: grid(count * parts)?,
                first: unit * parts,
                count: count * parts,
                elements: Span { first: unit * length, length: count * length },
                parameters: None,
                first_record: 0,
            });
        }
        return Ok(windows);
    }
    let tiles = most / tile;
    if tiles == 0 {
        // With the bytes before it that alignment may add.
        return Err(too_large(tile * Cell::Element.bytes() + capabilities.storage_alignment));
    }
    if units * parts.div_ceil(tiles) > MOST_WINDOWS {
        return Err(too_large(units * length * Cell::Element.bytes() / MOST_WINDOWS));
    }
    for unit in 0..units {
        for part in (0..parts).step_by(tiles as usize) {
            let count = tiles.min(parts - part);
            let within = Span { first: part * tile, length: (count * tile).min(length - part * tile) };
            windows.push(Window {
                grid: grid(count)?,
                first: unit * parts + part,
                count,
                elements: Span { first: unit * length + within.first, ..within },
                parameters: Some(within),
                first_record: 0,
            });
        }
    }
    Ok(windows)
}
