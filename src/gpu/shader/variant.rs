//! What is chosen: everything that decides the text of a shader, and the constants it is compiled by.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use super::fragment::{self, Fragment, Use};
use super::{Kernel, TensorBinding, tensor};
use crate::element::{Element, Storage};
use crate::epilogue::COEFFICIENTS;
use crate::tensors::Role;

/// Elements of one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Width {
    Scalar,
    Quad,
}

/// Where a lane keeps its part of a tile between statistics and normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Hold {
    /// All of it, so many packs, in registers.
    Registers(u32),
    /// So many packs at a time: it reads them again.
    Chunks(u32),
    /// By columns: so many rows at a time, of so many neighbouring packs one after the other.
    Columns { rows: u32, span: u32 },
    /// Nothing.
    None,
}

/// How weight and bias run along `S`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Affine {
    Constant,
    Element,
    /// As `Element`, each loaded by one of several lanes.
    Shared,
    Divided,
    /// As `Divided`, the same for several packs of a lane.
    Stepped,
}

/// Where a pass takes the statistics of a group from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Statistics {
    /// From `x`, by itself.
    Computed,
    /// From an earlier pass, or the user.
    Stored,
    /// Running mean and variance.
    Running,
    /// It needs none: all that it does is to add the bias.
    None,
}

/// What a merge leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Keep {
    /// Statistics, of partials.
    Statistics,
    /// Moments, of partials.
    Moments,
    /// The sums of groups, of partial sums.
    Sums,
    /// The gradients of weight and bias, of partial sums.
    Parameters,
}

/// How scale and shift are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Modulating {
    /// There are none.
    None,
    /// With weight and bias, which are those of each sample then.
    Folded,
    /// For each pack.
    Apart(Spread),
}

/// How numbers of a modulation are loaded for a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Spread {
    /// All at once.
    Packs,
    /// One by one, or one for all.
    Numbers,
}

/// What comes before the norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Before {
    Nothing,
    /// A residual is added to `x`.
    Residual,
    /// A gate and an embedding besides; or the gradient goes on to what the gate multiplied.
    Gate(Spread),
}

/// How lanes exchange values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reduction {
    Alone,
    Workgroup,
    Subgroup,
}

/// Which tensors are of 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Halves {
    x: bool,
    y: bool,
    gradients: bool,
    parameters: bool,
}

/// Tensors of one type, by [`element`](crate::tensors::element).
const LIKE_X: [Role; 5] = [Role::X, Role::Residual, Role::ResidualOut, Role::Skip, Role::Branch];
const GRADIENTS: [Role; 5] = [Role::GradOutput, Role::GradInput, Role::GradResidual, Role::GradSkip, Role::GradBranch];
const PARAMETERS: [Role; 6] = [Role::Weight, Role::Bias, Role::Scale, Role::Shift, Role::Gate, Role::Embedding];

impl Halves {
    pub(crate) fn of_storage(storage: Storage) -> Self {
        let [x, y, gradients, parameters] =
            [storage.x, storage.y, storage.gradients, storage.parameters].map(|element| element != Element::F32);
        Self { x, y, gradients, parameters }
    }

    pub(crate) fn of(self, role: Role) -> bool {
        match role {
            Role::Y => self.y,
            _ if LIKE_X.contains(&role) => self.x,
            _ if GRADIENTS.contains(&role) => self.gradients,
            _ if PARAMETERS.contains(&role) => self.parameters,
            _ => false,
        }
    }

    /// `-16` and what is of 16 bits, if anything is.
    pub(crate) fn name(self) -> String {
        let named = [(self.x, "x"), (self.y, "y"), (self.gradients, "g"), (self.parameters, "w")];
        let names: String = named.into_iter().filter(|&(there, _)| there).map(|(_, name)| name).collect();
        if self.any() { format!("-16{names}") } else { names }
    }

    fn any(self) -> bool {
        self.x || self.y || self.gradients || self.parameters
    }

    /// Of tensors that are among `roles`.
    fn among(self, roles: &[(Role, bool)]) -> Self {
        let has = |some: &[Role]| roles.iter().any(|(role, _)| some.contains(role));
        Self {
            x: self.x && has(&LIKE_X),
            y: self.y && has(&[Role::Y]),
            gradients: self.gradients && has(&GRADIENTS),
            parameters: self.parameters && has(&PARAMETERS),
        }
    }
}

/// What decides which files a shader is made of, and how many packs a lane takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Choice {
    pub(crate) kernel: Kernel,
    pub(crate) width: Width,
    pub(crate) hold: Hold,
    pub(crate) affine: Affine,
    pub(crate) statistics: Statistics,
    pub(crate) keep: Keep,
    pub(crate) reduction: Reduction,
    pub(crate) before: Before,
    pub(crate) modulation: Modulating,
    /// Packs that a lane reads before it writes the first of them; where weights are shared, as many lanes share them.
    pub(crate) together: u32,
    pub(crate) halves: Halves,
}

/// What follows from a choice: the one that is equal and [normal](Choice::normal), and the tensors that its text speaks of.
struct Found {
    choice: Choice,
    roles: Vec<(Role, bool)>,
}

fn writes(how: Use) -> bool {
    matches!(how, Use::Store | Use::Put)
}

/// Everything that decides the text of a shader.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Variant {
    pub(crate) choice: Choice,
    /// What is bound, from binding 1 on; binding 0 is the uniform.
    pub(crate) tensors: Vec<TensorBinding>,
    /// Tensors that are read or written through the binding of another, which is in their place.
    pub(crate) through: Vec<(Role, Role)>,
    /// Tensors that lie elsewhere in the binding of another.
    pub(crate) within: Vec<(Role, Role)>,
}

/// The override constants, as in `shaders/shared/params.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    pub(crate) workgroup_size: u32,
    pub(crate) lanes: u32,
    pub(crate) smallest_subgroup: u32,
    pub(crate) subtract_mean: bool,
    pub(crate) scaling: u32,
    pub(crate) hide_subtractions: bool,
    pub(crate) span: u32,
    pub(crate) whole: bool,
    pub(crate) by_words: bool,
    pub(crate) same_parameters: bool,
    pub(crate) neighbours: bool,
    pub(crate) through_statistics: bool,
    pub(crate) activation: u32,
    pub(crate) adds_skip: bool,
    pub(crate) modulated_by: u32,
    pub(crate) modulation_constant: bool,
    pub(crate) summed: u32,
    pub(crate) statistics_by: u32,
    pub(crate) weights_by: u32,
    pub(crate) beside: u32,
    pub(crate) bfloat: bool,
    pub(crate) exact_pack: bool,
    pub(crate) round_before_weight: bool,
    pub(crate) placed_by: u32,
    pub(crate) segmented: bool,
}

impl Constants {
    pub(crate) fn values(self) -> [(&'static str, f64); 25] {
        [
            ("workgroup_size", f64::from(self.workgroup_size)),
            ("lanes", f64::from(self.lanes)),
            ("smallest_subgroup", f64::from(self.smallest_subgroup)),
            ("subtract_mean", f64::from(u8::from(self.subtract_mean))),
            ("scaling", f64::from(self.scaling)),
            ("hide_subtractions", f64::from(u8::from(self.hide_subtractions))),
            ("span", f64::from(self.span)),
            ("whole", f64::from(u8::from(self.whole))),
            ("by_words", f64::from(u8::from(self.by_words))),
            ("same_parameters", f64::from(u8::from(self.same_parameters))),
            ("neighbours", f64::from(u8::from(self.neighbours))),
            ("through_statistics", f64::from(u8::from(self.through_statistics))),
            ("activation", f64::from(self.activation)),
            ("adds_skip", f64::from(u8::from(self.adds_skip))),
            ("modulated_by", f64::from(self.modulated_by)),
            ("modulation_constant", f64::from(u8::from(self.modulation_constant))),
            ("summed", f64::from(self.summed)),
            ("statistics_by", f64::from(self.statistics_by)),
            ("weights_by", f64::from(self.weights_by)),
            ("beside", f64::from(self.beside)),
            ("bfloat", f64::from(u8::from(self.bfloat))),
            ("exact_pack", f64::from(u8::from(self.exact_pack))),
            ("round_before_weight", f64::from(u8::from(self.round_before_weight))),
            ("placed_by", f64::from(self.placed_by)),
            ("segmented", f64::from(u8::from(self.segmented))),
        ]
    }
}

impl Choice {
    /// The file in a slot.
    fn in_slot(&self, slot: &str) -> &'static str {
        match slot {
            "width" => match self.width {
                Width::Scalar => "slots/width/scalar",
                Width::Quad => "slots/width/quad",
            },
            "value" if self.kernel.takes_neighbours() => "slots/value/groups",
            "value" => "slots/value/group",
            "source" if self.kernel.goes_back() => "slots/source/x",
            "source" => match self.before {
                Before::Nothing => "slots/source/x",
                Before::Residual => "slots/source/x_plus_residual",
                Before::Gate(_) => "slots/source/gated",
            },
            "gate" => match self.before {
                Before::Gate(_) => "slots/gate/given",
                Before::Nothing | Before::Residual => "slots/gate/none",
            },
            "modulation" => match self.modulation {
                Modulating::None => "slots/modulation/none",
                Modulating::Folded => "slots/modulation/folded",
                Modulating::Apart(_) => "slots/modulation/apart",
            },
            "rounding" if !self.halves.any() => "slots/rounding/none",
            "rounding" => match self.width {
                Width::Scalar => "slots/rounding/scalar",
                Width::Quad => "slots/rounding/quad",
            },
            "reduction" => match self.reduction {
                Reduction::Alone => "slots/reduction/alone",
                Reduction::Workgroup => "slots/reduction/workgroup",
                Reduction::Subgroup => "slots/reduction/subgroup",
            },
            "hold" => match self.hold {
                Hold::Registers(_) => "slots/hold/registers",
                Hold::Chunks(_) => "slots/hold/chunks",
                Hold::Columns { .. } | Hold::None => "slots/hold/none",
            },
            "gradients" => match self.hold {
                Hold::Registers(_) => "slots/gradients/registers",
                Hold::Chunks(_) => "slots/gradients/chunks",
                Hold::Columns { .. } | Hold::None => "slots/gradients/none",
            },
            "affine" => match self.affine {
                Affine::Constant => "slots/affine/constant",
                Affine::Element => "slots/affine/element",
                Affine::Shared => "slots/affine/shared",
                Affine::Divided => "slots/affine/divided",
                Affine::Stepped => "slots/affine/stepped",
            },
            "statistics" => match self.statistics {
                Statistics::Computed => "slots/statistics/computed",
                Statistics::Stored => "slots/statistics/stored",
                Statistics::Running => "slots/statistics/running",
                Statistics::None => "slots/statistics/none",
            },
            "keep" => match self.keep {
                Keep::Statistics => "slots/keep/statistics",
                Keep::Moments => "slots/keep/moments",
                Keep::Sums => "slots/keep/sums",
                Keep::Parameters => "slots/keep/parameters",
            },
            _ => "",
        }
    }

    /// The same shader, with one choice in all slots that it has not.
    pub(crate) fn normal(self) -> Self {
        self.found().choice
    }

    /// Itself, or where tensors are of 16 bits the same in f32, a pack at a time: how many are taken at once differs there.
    pub(crate) fn in_f32(self) -> Self {
        if self.halves.any() { Self { halves: Halves::default(), ..self }.one_at_a_time() } else { self }
    }

    /// The same without what comes before the norm, and without scale and shift.
    pub(crate) fn alone(self) -> Self {
        Self { before: Before::Nothing, modulation: Modulating::None, ..self }
    }

    pub(crate) fn one_at_a_time(self) -> Self {
        Self { together: 1, ..self }
    }

    /// The same of two packs at a time, if it is of more: no other line of the text depends on how many they are.
    pub(crate) fn several_at_a_time(self) -> Self {
        Self { together: self.together.min(2), ..self }
    }

    /// The files it is made of.
    pub(crate) fn files(&self) -> Vec<&'static Fragment> {
        let files = fragment::files(self.kernel.path(), |slot| self.in_slot(slot));
        if self.halves.any() { fragment::with_halves(files) } else { files }
    }

    pub(super) fn uses_file(&self, path: &str) -> bool {
        self.files().iter().any(|file| file.path == path)
    }

    /// The tensors that its text reads or writes, in order, each way once.
    pub(super) fn uses(&self) -> Vec<(Role, Use)> {
        let mut uses: Vec<_> = self.files().iter().flat_map(|file| file.tensors.iter().copied()).collect();
        uses.sort_unstable();
        uses.dedup();
        uses
    }

    /// The tensors that its text speaks of, and whether it writes them.
    pub(crate) fn roles(self) -> Vec<(Role, bool)> {
        self.found().roles.clone()
    }

    /// What follows from it. To join files takes longer than all else of a bind, so it is done once for each choice.
    fn found(self) -> Arc<Found> {
        static FOUND: LazyLock<Mutex<HashMap<Choice, Arc<Found>>>> = LazyLock::new(Mutex::default);
        let mut all = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(self).or_insert_with(|| Arc::new(self.find())).clone()
    }

    fn find(self) -> Found {
        let files = self.files();
        let has = |slot: &str| files.iter().any(|file| file.uses.contains(&slot));
        let mut choice = Self {
            affine: if has("<affine>") { self.affine } else { Affine::Constant },
            together: if has("<affine>") { self.together } else { 1 },
            statistics: if has("<statistics>") { self.statistics } else { Statistics::Computed },
            keep: if has("<keep>") { self.keep } else { Keep::Statistics },
            before: match self.before {
                Before::Gate(_) if has("<gate>") => self.before,
                _ if has("<source>") && !self.kernel.goes_back() => self.before,
                _ => Before::Nothing,
            },
            modulation: if has("<modulation>") { self.modulation } else { Modulating::None },
            ..self
        };
        let mut roles: Vec<(Role, bool)> = Vec::new();
        if choice.modulation == Modulating::Folded {
            roles.extend([(Role::Scale, false), (Role::Shift, false)]);
        }
        for (role, how) in self.uses() {
            match roles.last_mut() {
                Some((last, written)) if *last == role => *written |= writes(how),
                _ => roles.push((role, writes(how))),
            }
        }
        choice.halves = self.halves.among(&roles);
        Found { choice, roles }
    }

    /// Whether weight and bias are read a pack at a time.
    pub(super) fn packs_parameters(&self) -> bool {
        self.kernel.by_rows() && matches!(self.affine, Affine::Element | Affine::Shared)
    }

    /// The numbers that types need, and those that are shared with the CPU.
    fn sizes(&self) -> String {
        let mut sizes = match self.hold {
            Hold::Registers(items) | Hold::Chunks(items) => format!("const ITEMS: u32 = {items}u;\n"),
            Hold::Columns { rows, span } => {
                // Chunks of one row where they are normalized: compilers of software adapters unroll only short loops.
                let stored = if self.kernel.takes_whole_columns() { 1 } else { rows };
                format!("const CHUNK: u32 = {rows}u;\nconst STORED: u32 = {stored}u;\nconst SPAN: u32 = {span}u;\n")
            }
            Hold::None => String::new(),
        };
        if self.uses_file("shared/epilogue") {
            sizes.extend(COEFFICIENTS.iter().map(|(name, value)| format!("const {name} = {value:e}f;\n")));
        }
        if self.kernel.by_rows() {
            sizes.push_str(&format!("const TOGETHER: u32 = {}u;\n", self.together));
        }
        sizes
    }
}

impl Variant {
    /// The whole shader: its files, then the sizes and the tensors of this variant.
    pub(crate) fn wgsl(&self) -> String {
        let files = fragment::text(&self.choice.files());
        format!("{files}// Sizes\n{}\n// Tensors\n{}", self.choice.sizes(), tensor::declarations(self))
    }
}

impl Width {
    pub(crate) fn elements(self) -> u32 {
        match self {
            Self::Scalar => 1,
            Self::Quad => 4,
        }
    }
}

impl Reduction {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Workgroup => "workgroup",
            Self::Subgroup => "subgroup",
        }
    }
}
