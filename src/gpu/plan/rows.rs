//! Tiles along the contiguous `S`: how many lanes share one, and what each holds.

use super::{Capabilities, Team, Tuning, Turns, Work};
use crate::gpu::shader::{Hold, Reduction, Width};

/// Quads of four elements that one lane of a GPU holds in registers. Of 16 compilers leave loops as they are, and what is held goes to
/// memory. Of Mesa's for 12 widths of rows, forward and backward, 16 and then 8 quads: 954 and 94 spills on Skylake, 1099 and 59 on Lunar
/// Lake, 705 and 0 on Adreno 660; 256 and 0 bytes of scratch on NVIDIA.
const MOST_QUADS: u64 = 8;

/// The same where no subgroup is larger than this, as on GPUs of few registers. With all gradients of a row of 256: 284 and 0 spills on
/// Mali G610.
const SHORT_SUBGROUP: u32 = 16;
const MOST_QUADS_SHORT: u64 = 4;

/// The same of single elements: `fused_rows` with 32 has 332 spills on Skylake, and 128 bytes of scratch on NVIDIA.
const MOST_SCALARS: u64 = 16;

/// About what a lane of a GPU takes of a row, so that short rows share a workgroup.
const USUAL_QUADS: u64 = 4;

/// What a lane takes of the longest row that is left to one workgroup: more than it holds, so that it reads it again, from a cache where
/// it is in one. Three dispatches would read it as often.
const LONGEST_IN_QUADS: u64 = 16;

/// A row that the lanes of a subgroup of a software adapter work through, read again from cache.
const LONGEST_SOFTWARE: u64 = 32_768;

/// As above where one lane works alone: all of its loops over the row together stay below the 65,535 iterations after
/// which some drivers silently end them.
const LONGEST_ALONE: u64 = 16_384;

/// The tile of a software adapter that has more than one to a run.
const SOFTWARE_SPLIT: u64 = 8_192;

/// Rows this short go to one lane of a software adapter, and of no more packs stay in its registers.
const SHORT_SOFTWARE: u64 = 64;
const MOST_PACKS: u64 = 8;

/// With as many tiles each lane of a software adapter takes one for itself: nothing is exchanged then, and the lanes of a
/// subgroup share what they load of the weights. With fewer, cores would stand idle.
const MANY_TILES: u64 = 256;

/// Elements of a cache line, which lanes of a software adapter should not share; and packs that one reads as a chunk.
const LINE: u64 = 16;
const CHUNK_QUADS: u32 = 8;
const CHUNK_SCALARS: u32 = 16;

/// Runs side by side that a lane sums at a time, at most as many as `shaders/kernels/backward/sums_beside.wgsl` has room for: on a GPU no more
/// than registers hold.
pub(super) fn most_beside(capabilities: &Capabilities) -> u64 {
    if capabilities.software { 8 } else { 4 }
}

/// The longest row that statistics and normalization of one dispatch can hold.
pub(super) fn longest_fused(groups: u64, capabilities: &Capabilities, tuning: Tuning) -> u64 {
    match (capabilities.software, capabilities.subgroup().filter(|&lanes| lanes > 1)) {
        (true, Some(_)) if tuning == Tuning::BatchInvariant || groups < MANY_TILES => LONGEST_SOFTWARE,
        (true, _) => LONGEST_ALONE,
        (false, _) => u64::from(capabilities.largest_workgroup()) * LONGEST_IN_QUADS * 4,
    }
}

/// Quads, or elements for four of them each, that one lane of a GPU holds.
pub(super) fn most_quads(width: Width, capabilities: &Capabilities) -> u64 {
    match width {
        Width::Scalar => MOST_SCALARS / 4,
        Width::Quad if short(capabilities) => MOST_QUADS_SHORT,
        Width::Quad => MOST_QUADS,
    }
}

/// Whether so many lanes of a GPU exchange values by shuffles of a subgroup, and those are fast.
pub(super) fn shuffles(lanes: u32, capabilities: &Capabilities) -> bool {
    capabilities.subgroup().is_some_and(|subgroup| subgroup >= lanes) && !short(capabilities)
}

fn short(capabilities: &Capabilities) -> bool {
    capabilities.subgroup_sizes.is_some_and(|(_, largest)| largest <= SHORT_SUBGROUP)
}

/// Into how many tiles a run of `s` is cut.
pub(super) fn parts(s: u64, capabilities: &Capabilities) -> u64 {
    let split = if capabilities.software {
        SOFTWARE_SPLIT
    } else {
        u64::from(capabilities.largest_workgroup()) * most_quads(Width::Quad, capabilities) * 4
    };
    // Two tiles of just over half a workgroup's registers are no better than one.
    if s <= split { 1 } else { s.div_ceil(split) }
}

/// The length of the tiles of a run of `s`, and how many there are: of one length, and a multiple of four so that each starts aligned.
pub(super) fn tiles(s: u64, capabilities: &Capabilities) -> (u64, u64) {
    let length = s.div_ceil(parts(s, capabilities)).next_multiple_of(4).min(s);
    (length, s.div_ceil(length))
}

/// How lanes share tiles of one length.
pub(super) struct Tiling {
    pub(super) team: Team,
    hold: Hold,
    length: u64,
    /// Packs of the tile that fall to one lane, and how many of them are neighbours.
    items: u64,
    span: u64,
    /// Packs that a lane takes at once, of what it holds or reads.
    together: u64,
    /// The same where nothing is held, so that it need not divide what is.
    most_together: u64,
    /// Lanes whose weights are the same and may be loaded by one of them.
    sharers: u64,
    /// Whether it stores single elements of 16 bits.
    by_words: bool,
}

impl Tiling {
    /// `tensors` is how many are kept of each element, `together` the most packs that a lane of a software adapter takes at once.
    pub(super) fn new(
        length: u64,
        tiles: u64,
        width: Width,
        tensors: u64,
        together: u64,
        capabilities: &Capabilities,
        tuning: Tuning,
    ) -> Self {
        if capabilities.software {
            Self::software(length, tiles, width, tensors, together, capabilities, tuning)
        } else {
            Self::hardware(length, width, tensors, capabilities)
        }
    }

    fn software(
        length: u64,
        tiles: u64,
        width: Width,
        tensors: u64,
        together: u64,
        capabilities: &Capabilities,
        tuning: Tuning,
    ) -> Self {
        let subgroup = capabilities.subgroup().map(|lanes| lanes.min(capabilities.largest_workgroup()));
        let many = match tuning {
            Tuning::Heuristic => tiles >= MANY_TILES,
            Tuning::BatchInvariant => length <= LONGEST_ALONE,
        };
        let lanes = if many || length <= SHORT_SOFTWARE { 1 } else { subgroup.unwrap_or(1) };
        let wide = u64::from(width.elements());
        let packs = length.div_ceil(wide);
        let span = if lanes == 1 { 1 } else { LINE / wide };
        let (items, hold) = if lanes == 1 && packs <= MOST_PACKS / tensors {
            // Few variants to compile.
            let items = packs.next_power_of_two();
            (items, Hold::Registers(items as u32))
        } else {
            let chunk = if width == Width::Scalar { CHUNK_SCALARS } else { CHUNK_QUADS };
            (packs.div_ceil(u64::from(lanes) * span) * span, Hold::Chunks(chunk))
        };
        // Large workgroups cost less to start, small ones share out better.
        let wanted = if tiles >= 64 * MANY_TILES { 64 } else { 8 };
        let team = Team {
            workgroup_size: capabilities.workgroup_size(wanted, lanes),
            lanes,
            reduction: if subgroup.is_some() { Reduction::Subgroup } else { Reduction::Workgroup },
        };
        // What is held must not be counted past its end.
        let most = if matches!(hold, Hold::Registers(_)) { 1 << items.trailing_zeros() } else { together };
        let sharers = if lanes == 1 { u64::from(subgroup.unwrap_or(1)).min(most).min(together) } else { 1 };
        Self {
            team: team.normal(),
            hold,
            length,
            items,
            span,
            together: most.min(together),
            most_together: together,
            sharers,
            by_words: false,
        }
    }

    fn hardware(length: u64, width: Width, tensors: u64, capabilities: &Capabilities) -> Self {
        let quads = length.div_ceil(4);
        let most = most_quads(width, capabilities);
        // Each tensor that is held takes its part. A subgroup has a row to itself as long as that lasts, since it needs no barrier.
        let held = if width == Width::Quad && short(capabilities) { tensors.max(2) } else { tensors };
        let each = (most / held).max(1);
        let wanted = quads.div_ceil(each.min(USUAL_QUADS)).next_power_of_two();
        // Twice the lanes, where each then holds no more than usual. For rows of 4096 and 8192, forward and backward, Mesa has room for 12
        // to 18 waves instead of 8 to 14 on navi21; 78 and 59 spills on DG2 and Lunar Lake are gone, and 112 come instead of 86 on Skylake.
        // 512 lanes of 8 quads are no third choice: rows of 16384 take 1.1 copies in place of 1.6 on an H100, but 66 to 270 spills on Skylake,
        // Adreno 660 and Apple M1.
        let more = width == Width::Quad && wanted <= u64::from(capabilities.most_lanes());
        let largest = if more { capabilities.most_lanes() } else { capabilities.largest_workgroup() };
        let subgroup = capabilities.subgroup().map(|lanes| lanes.min(largest));
        let within = subgroup.filter(|&lanes| quads <= u64::from(lanes) * each);
        let lanes = wanted.min(u64::from(within.unwrap_or(largest))) as u32;
        // Several short subgroups go through workgroup memory all the way: Mesa's driver of Mali goes round for every lane of a shuffle, and
        // stores what is held meanwhile. Rows of 768 and 4096: 26 and 18 spills, and then 0; backward there are none either way.
        let shuffles = subgroup.is_some_and(|subgroup| lanes <= subgroup || tensors > 1 || !short(capabilities));
        let team = Team {
            workgroup_size: capabilities.workgroup_size(256, lanes),
            lanes,
            reduction: if shuffles { Reduction::Subgroup } else { Reduction::Workgroup },
        };
        let quads = quads.div_ceil(u64::from(lanes)).next_power_of_two();
        let items = quads * (4 / u64::from(width.elements()));
        let hold = if quads <= most {
            Hold::Registers(items as u32)
        } else {
            Hold::Chunks(if width == Width::Quad { CHUNK_QUADS } else { CHUNK_SCALARS })
        };
        Self {
            team: team.normal(),
            hold,
            length,
            items,
            span: 1,
            together: 1,
            most_together: 1,
            sharers: 1,
            by_words: false,
        }
    }

    /// For a pass that stores words of two single elements, of which the first may be before the tile: what it stores it reads again, as it
    /// is shared out otherwise than for statistics.
    pub(super) fn by_words(self) -> Self {
        let (lanes, length) = (u64::from(self.team.lanes), self.length + 1);
        let span = if lanes == 1 { 1 } else { self.span.max(2) };
        let items = length.div_ceil(lanes * span) * span;
        let (hold, together) = (Hold::Chunks(CHUNK_SCALARS), self.most_together);
        Self { hold, length, span, items, together, by_words: true, ..self }
    }

    /// For a pass that reads its tiles once, and holds nothing of them.
    pub(super) fn holding_nothing(self) -> Self {
        Self { hold: Hold::None, together: self.most_together, ..self }
    }

    pub(super) fn hold(&self) -> Hold {
        self.hold
    }

    /// How the lanes take turns; `even` where every tile is as long as the first.
    pub(super) fn turns(&self, width: Width, even: bool) -> Turns {
        let covered = u64::from(self.team.lanes) * self.items * u64::from(width.elements());
        let full = match self.hold {
            Hold::Chunks(items) => self.items.is_multiple_of(u64::from(items)),
            Hold::None => self.items.is_multiple_of(self.together),
            _ => true,
        };
        Turns {
            span: self.span as u32,
            together: self.together as u32,
            whole: even && full && covered == self.length,
            by_words: self.by_words,
        }
    }

    /// The team, and how many of its lanes share weights, where each lane has a row of its own and all go along them side
    /// by side.
    pub(super) fn sharing(&self, capabilities: &Capabilities) -> Option<(Team, u32)> {
        let subgroup = capabilities.subgroup().filter(|_| self.sharers > 1)?;
        let team = Team { reduction: Reduction::Subgroup, ..self.team };
        Some((team, self.sharers.min(u64::from(subgroup)) as u32))
    }

    /// Whether each lane has a row of its own, of which it takes several packs at once that lie within a run of `s_div`.
    pub(super) fn steps(&self, width: Width, s_div: u64) -> bool {
        let several = self.team.lanes == 1 && self.together > 1;
        several && s_div.is_multiple_of(self.together * u64::from(width.elements()))
    }

    pub(super) fn work(&self) -> Work {
        Work { items: self.items, ..Work::default() }
    }

    pub(super) fn workgroups(&self, tiles: u64) -> u64 {
        tiles.div_ceil(u64::from(self.team.workgroup_size / self.team.lanes))
    }
}

impl Team {
    /// Lanes that work alone exchange nothing, whatever the backend.
    pub(super) fn normal(self) -> Self {
        if self.lanes == 1 { Self::apart(self.workgroup_size) } else { self }
    }
}
