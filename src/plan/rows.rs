//! Tiles along the contiguous `S`: how many lanes share one, and what each holds.

use super::{Capabilities, Team, Work};
use crate::shader::{Hold, Reduction, Width};

/// Quads of four elements that one lane can hold in registers.
const MOST_QUADS: u64 = 16;

/// The tile of a GPU that has more than one to a run: 8 quads in each of 256 lanes.
const QUADS_OF_SPLIT: u64 = 8;

/// A row that one subgroup of a software adapter works through, read again from cache.
const LONGEST_SOFTWARE: u64 = 32_768;

/// As above where one lane works alone: its three loops over the row stay below the 65,535 iterations after which some
/// drivers silently end all loops of an invocation.
const LONGEST_ALONE: u64 = 16_384;

/// The tile of a software adapter that has more than one to a run.
const SOFTWARE_SPLIT: u64 = 8_192;

/// Rows this short are faster in one lane of a software adapter than shared.
const SHORT_SOFTWARE: u64 = 64;

/// The longest row that statistics and normalization of one dispatch can hold.
pub(super) fn longest_fused(capabilities: &Capabilities) -> u64 {
    match (capabilities.software, capabilities.subgroup().filter(|&lanes| lanes > 1)) {
        (true, Some(_)) => LONGEST_SOFTWARE,
        (true, None) => LONGEST_ALONE,
        (false, _) => u64::from(capabilities.largest_workgroup()) * MOST_QUADS * 4,
    }
}

/// Into how many tiles a run of `s` is cut.
pub(super) fn parts(s: u64, capabilities: &Capabilities) -> u64 {
    let split = if capabilities.software {
        SOFTWARE_SPLIT
    } else {
        u64::from(capabilities.largest_workgroup()) * QUADS_OF_SPLIT * 4
    };
    // Two tiles of just over half a workgroup's registers are no better than one.
    if s <= split { 1 } else { s.div_ceil(split) }
}

/// How lanes share tiles of one length.
pub(super) struct Tiling {
    pub(super) team: Team,
    /// Quads of the tile that fall to one lane.
    quads: u64,
    registers: bool,
}

impl Tiling {
    pub(super) fn new(length: u64, capabilities: &Capabilities) -> Self {
        let quads = length.div_ceil(4);
        let largest = capabilities.largest_workgroup();
        let subgroup = capabilities.subgroup().map(|lanes| lanes.min(largest));
        let reduction = if subgroup.is_some() { Reduction::Subgroup } else { Reduction::Workgroup };
        if capabilities.software {
            let lanes = if length <= SHORT_SOFTWARE { 1 } else { subgroup.unwrap_or(1) };
            let team = Team {
                workgroup_size: capabilities.workgroup_size(64, lanes),
                lanes,
                reduction,
                across_subgroups: false,
            };
            return Self { team: team.normal(), quads: quads.div_ceil(u64::from(lanes)), registers: false };
        }
        // About four quads a lane, so that short rows share a workgroup; a subgroup as long as its registers last,
        // since it needs no barrier.
        let wanted = quads.div_ceil(4).next_power_of_two();
        let within = subgroup.filter(|&lanes| quads <= u64::from(lanes) * MOST_QUADS);
        let lanes = wanted.min(u64::from(within.unwrap_or(largest))) as u32;
        let team = Team {
            workgroup_size: capabilities.workgroup_size(largest, lanes),
            lanes,
            reduction,
            across_subgroups: within.is_none(),
        };
        Self { team: team.normal(), quads: quads.div_ceil(u64::from(lanes)).next_power_of_two(), registers: true }
    }

    pub(super) fn hold(&self, width: Width) -> Hold {
        if self.registers { Hold::Registers(self.items(width) as u32) } else { Hold::Reread }
    }

    pub(super) fn work(&self, width: Width) -> Work {
        Work { items: self.items(width), ..Work::default() }
    }

    pub(super) fn workgroups(&self, tiles: u64) -> u64 {
        tiles.div_ceil(u64::from(self.team.workgroup_size / self.team.lanes))
    }

    fn items(&self, width: Width) -> u64 {
        self.quads * (4 / u64::from(width.elements()))
    }
}

impl Team {
    /// Lanes that work alone exchange nothing, whatever the backend.
    pub(super) fn normal(self) -> Self {
        if self.lanes == 1 { Self::apart(self.workgroup_size) } else { self }
    }
}
