//! All shaders, for tests and tools that need no GPU: those that plans over a grid of devices, norms, shapes, tensors and
//! directions ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backward::Backward;
use crate::element::{Element, Storage};
use crate::epilogue::Activation;
use crate::error::SpecError;
use crate::gpu::bind::{Expected, shaders};
use crate::gpu::plan::{Capabilities, Plan, Tuning};
use crate::gpu::shader::{Access, Before, Choice, Constants, ENTRY, Hold, Modulating, Reduction, Spread, Variant};
use crate::modulation::Modulation;
use crate::norm::{BatchNorm, GroupNorm, InstanceNorm, LayerNorm, Norm, RmsNorm};
use crate::problem::{Problem, Task};
use crate::tensors::{Role, takes};

/// One composed shader.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShaderVariant {
    /// A unique name that is valid as a file name: the kernel, what is in its slots, and the tensors.
    pub name: String,
    /// The WGSL source.
    pub source: String,
    /// The name of the entry point.
    pub entry_point: &'static str,
    /// Values of its override constants.
    pub constants: Vec<(&'static str, f64)>,
}

/// All shaders that plans use, each with one set of constants. The tensors they are bound to are some of those there can be: as
/// few as possible, as many, in place, and all in one buffer. Of those that differ only in how many packs a lane takes at once, two or
/// more, not all are here.
#[must_use]
pub fn shader_variants() -> Vec<ShaderVariant> {
    LISTED.values().map(|(variant, constants)| variant.composed(constants)).collect()
}

/// The shaders of the plan for one norm on a device of these capabilities, with the plan's constants: the name of each one's kernel, and
/// the shader, with weight, bias and the statistics of training bound, and what a modulation takes with a residual, where there is one.
///
/// # Errors
///
/// As [`Context::plan`](crate::Context::plan).
pub fn planned_shaders(
    norm: &dyn Norm,
    backward: Option<Backward>,
    capabilities: &Capabilities,
) -> Result<Vec<(&'static str, ShaderVariant)>, SpecError> {
    let problem = norm.lower()?;
    let problem = match backward {
        Some(wanted) => problem.backward(wanted)?,
        None => problem,
    };
    let plan = Plan::new(problem, capabilities, Tuning::default())?;
    let expected = Expected::new().weight().bias().statistics();
    let modulation = expected.scale().shift().grad_modulation().gate().residual().residual_out();
    let expected = if plan.problem.modulation.is_some() { modulation } else { expected }.taken_by(&plan.problem);
    let shaders = shaders(&plan, expected);
    Ok(shaders.map(|(variant, constants)| (variant.choice.kernel.name(), variant.composed(&constants))).collect())
}

static LISTED: LazyLock<BTreeMap<String, (Variant, Constants)>> = LazyLock::new(list);

static EXPECT_LISTED: AtomicBool = AtomicBool::new(false);

/// From here on a shader whose files and sizes are not among the listed is a panic, however many packs at once they are for, if several: for
/// tests of the list.
pub fn expect_listed() {
    EXPECT_LISTED.store(true, Ordering::Relaxed);
}

/// Holds a shader that is about to be compiled against the list, if that was asked for.
pub(crate) fn check_listed(choice: &Choice) {
    static CHOICES: LazyLock<BTreeSet<Choice>> = LazyLock::new(|| {
        let listed = LISTED.values().map(|(variant, _)| variant.choice.in_f32().alone().several_at_a_time());
        listed.flat_map(|choice| [choice, choice.one_at_a_time()]).collect()
    });
    let choice = choice.in_f32().alone().several_at_a_time();
    assert!(!EXPECT_LISTED.load(Ordering::Relaxed) || CHOICES.contains(&choice), "no listed shader is {choice:?}");
}

/// Devices that differ in what plans go by, how plans are chosen there, and whether tensors start at multiples of 16 bytes.
fn devices() -> Vec<(Capabilities, Tuning, bool)> {
    let device = |software: bool, subgroup: Option<u32>| Capabilities {
        software,
        subgroup_sizes: subgroup.map(|size| (size, size)),
        ..Capabilities::from_limits(&wgpu::Limits::default())
    };
    let mut devices = vec![(Capabilities { max_invocations: 1, ..device(false, None) }, Tuning::Heuristic, true)];
    for subgroup in [None, Some(2), Some(4), Some(16), Some(128)] {
        devices.extend([false, true].map(|software| (device(software, subgroup), Tuning::Heuristic, true)));
    }
    for subgroup in [None, Some(16), Some(32)] {
        let device = Capabilities { max_invocations: 512, ..device(false, subgroup) };
        devices.push((device, Tuning::Heuristic, true));
    }
    for usual in [device(false, Some(32)), device(true, Some(8))] {
        let few_bindings = Capabilities { max_storage_buffers: 4, ..usual.clone() };
        devices.push((usual.clone(), Tuning::BatchInvariant, true));
        for quads in [true, false] {
            devices.extend([&usual, &few_bindings].map(|device| (device.clone(), Tuning::Heuristic, quads)));
        }
    }
    devices
}

/// Widths of rows: of each number of packs that a lane can hold, by quads and by single elements.
fn widths() -> impl Iterator<Item = usize> {
    (0..=16).flat_map(|bits: u32| [1 << bits, (1 << bits) - 1, (3 << bits) >> 2]).filter(|&width| width > 0)
}

/// Columns, one for each number of neighbours that fall to a lane.
const COLUMNS: [usize; 14] = [1, 2, 3, 5, 7, 8, 12, 16, 20, 32, 64, 96, 256, 320];

/// How tensors are stored: one 16-bit type stands for both, which a constant tells apart.
static STORED: LazyLock<[Storage; 4]> = LazyLock::new(|| {
    let short = Storage::new(Element::F16);
    let mixed = short.output(Element::F32).gradients(Element::F32);
    [Storage::default(), short, short.parameters(Element::F16), mixed]
});

fn norms() -> Result<Vec<Box<dyn Norm>>, SpecError> {
    let mut norms: Vec<Box<dyn Norm>> = Vec::new();
    for width in widths() {
        for rows in [1, 300] {
            norms.push(Box::new(LayerNorm::new(&[rows, width], &[width])?));
        }
        norms.push(Box::new(InstanceNorm::new(&[4, 2, width], 1)?));
        norms.push(Box::new(InstanceNorm::new(&[200, 2, width], 1)?));
        for channels in [2, 4, 8, 64] {
            norms.push(Box::new(GroupNorm::new(&[300, channels, width], 2, 1)?));
            norms.push(Box::new(GroupNorm::new(&[2, channels, width], 2, 1)?));
        }
        norms.push(Box::new(BatchNorm::new(&[3, 2, width], 1)?));
        norms.push(Box::new(BatchNorm::new(&[3, 2, width], 1)?.eval()));
    }
    for width in widths() {
        norms.push(Box::new(LayerNorm::over_axes(&[2, 3, 2, width], &[1, 3])?));
        norms.push(Box::new(LayerNorm::over_axes(&[200, 3, 2, width], &[1, 3])?));
    }
    for width in [4, 7] {
        norms.push(Box::new(GroupNorm::new(&[8, 64, width], 2, 1)?));
    }
    norms.push(Box::new(LayerNorm::new(&[300_000, 8], &[8])?));
    norms.push(Box::new(LayerNorm::new(&[300_000, 9], &[9])?));
    for columns in COLUMNS {
        for rows in 1..=8 {
            norms.push(Box::new(InstanceNorm::new(&[3, rows, columns], 2)?));
            norms.push(Box::new(LayerNorm::over_axes(&[3, rows, columns], &[1])?));
        }
        for rows in [9, 100, 5000] {
            norms.push(Box::new(BatchNorm::new(&[rows, columns], 1)?));
            norms.push(Box::new(BatchNorm::new(&[rows, columns], 1)?.eval()));
            norms.push(Box::new(InstanceNorm::new(&[3, rows, columns], 2)?));
            norms.push(Box::new(LayerNorm::over_axes(&[3, rows, columns], &[1])?));
            norms.push(Box::new(GroupNorm::new(&[3, rows, 2 * columns], 2, 2)?));
        }
    }
    // Rows of which no fold makes a line: two quads to a lane.
    norms.push(Box::new(BatchNorm::new(&[4099, 8], 1)?));
    norms.push(Box::new(BatchNorm::new(&[4099, 8], 1)?.eval()));
    norms.push(Box::new(InstanceNorm::new(&[3, 4099, 8], 2)?));
    norms.push(Box::new(GroupNorm::new(&[3, 4099, 8], 2, 2)?));
    norms.push(Box::new(RmsNorm::new(&[300, 64], &[64])?));
    for (channels, positions) in [(9, 40), (9, 7000), (300, 63), (2000, 16)] {
        norms.push(Box::new(LayerNorm::over_axes(&[3, channels, positions], &[1])?));
    }
    norms.push(Box::new(LayerNorm::over_axes(&[1, 300, 16], &[1])?));
    Ok(norms)
}

/// All that can be asked of one norm.
fn problems(norm: &dyn Norm) -> Vec<Problem> {
    let Ok(problem) = norm.lower() else { return Vec::new() };
    let mut all = ways(&problem);
    // On the way back an activation takes the bias besides, and scale and shift are bound: one shader of each kind. What they do constants
    // say.
    let activation = Some(Activation::Silu);
    let back = all.iter().filter(|problem| problem.gradients().is_some());
    let activated: Vec<Problem> = back.map(|problem| Problem { activation, ..problem.clone() }).collect();
    let shape = norm.shape();
    let rows: Vec<usize> =
        shape.iter().enumerate().map(|(axis, &n)| if axis == 0 || axis + 1 == shape.len() { n } else { 1 }).collect();
    let modulation = Modulation::new(&rows).on(problem.norm, shape, false).ok();
    let modulated = Problem { modulation, ..problem };
    let whole = |problem: &Problem| matches!(problem.task, Task::Forward | Task::Backward(_));
    all.extend(activated);
    all.extend(ways(&modulated).into_iter().filter(whole));
    all.extend(modulated.backward(Backward::new().with_gate().with_embedding()));
    let overwriting: Vec<Problem> = all.iter().filter_map(|problem| problem.overwriting(true)).collect();
    all.into_iter().chain(overwriting).collect()
}

fn ways(problem: &Problem) -> Vec<Problem> {
    let all = Backward::new();
    let ways = [
        Ok(problem.clone()),
        problem.clone().moments(),
        problem.clone().by_moments(2),
        problem.clone().by_statistics(),
        problem.clone().backward(all),
        problem.clone().backward(all.saved_statistics()),
        problem.clone().backward(all.without_input()),
        problem.clone().backward(all.without_weight().without_bias()),
        problem.clone().backward(all.without_weight().without_bias().saved_statistics()),
        problem.clone().backward_sums(all),
        problem.clone().backward_sums(all.without_weight().without_bias()),
        problem.clone().by_sums(2),
    ];
    ways.into_iter().flatten().collect()
}

/// Which tensors are bound: as many as can be, and other sets, some of which are held against few shaders.
fn tensors(problem: &Problem, new_kind: bool, every_set: bool) -> Vec<Expected> {
    let affine = Expected::new().weight().bias();
    let all = affine.mean().rstd().statistics().num_batches_tracked().grad_residual().scale().shift().grad_modulation();
    let mut sets = vec![all];
    if new_kind && takes(problem, Role::Residual) {
        sets.push(affine.residual().residual_out());
    }
    if new_kind && takes(problem, Role::Gate) && problem.gradients().is_none() {
        sets.push(affine.residual().residual_out().gate().embedding());
    }
    if every_set {
        sets.extend([Expected::new(), all.in_place(), all.in_one_buffer()]);
    }
    sets.iter().map(|expected| expected.taken_by(problem)).collect()
}

/// Which sets of tensors are bound decides accessors, and so does how they are stored; how much a lane holds is other text: every set,
/// a residual among them, and every storage, is held against the first shader of each kind alone.
fn list() -> BTreeMap<String, (Variant, Constants)> {
    let (devices, norms) = (devices(), norms().unwrap_or_default());
    let (mut choices, mut texts, mut kinds) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut listed = BTreeMap::new();
    let problems: Vec<Problem> = norms.iter().flat_map(|norm| problems(norm.as_ref())).collect();
    let stored = |&storage: &Storage| problems.iter().map(move |problem| Problem { storage, ..problem.clone() });
    for problem in STORED.iter().flat_map(stored) {
        let followed = problem.activation.is_some() || problem.modulation.is_some();
        let plain = problem.storage.short().is_none();
        if followed && !plain {
            continue;
        }
        for (capabilities, tuning, quads) in &devices {
            let Ok(plan) = Plan::aligned(problem.clone(), capabilities, *tuning, *quads) else { continue };
            let [mut new_choice, mut new_kind] = [false; 2];
            for pass in plan.passes() {
                let choice = pass.choice(Before::Nothing);
                let kind = Choice { hold: Hold::None, reduction: Reduction::Alone, together: 1, ..choice };
                // Those of f32 as they are; of 16 bits only what none in f32 is like.
                let alike = texts.insert((choice.in_f32().one_at_a_time(), pass.without));
                new_choice |= !followed && if plain { choices.insert((choice, pass.without)) } else { alike };
                let gate = problem.gradients().is_some_and(|wanted| wanted.gate);
                new_kind |= kinds.insert((kind, pass.without, pass.in_place_of, problem.activation.is_some(), gate));
            }
            if new_choice || new_kind {
                for expected in tensors(&problem, new_kind, new_kind && plain && !followed) {
                    let most = capabilities.max_storage_buffers as usize;
                    let shaders = shaders(&plan, expected).filter(|(variant, _)| variant.tensors.len() <= most);
                    listed.extend(shaders.map(|(variant, constants)| (variant.name(), (variant, constants))));
                }
            }
        }
    }
    listed
}

impl Variant {
    fn composed(&self, constants: &Constants) -> ShaderVariant {
        ShaderVariant {
            name: self.name(),
            source: self.wgsl(),
            entry_point: ENTRY,
            constants: constants.values().to_vec(),
        }
    }

    /// The kernel, what is in its slots, and the tensors: those that are read, those that are written, and those that another's
    /// binding is in the place of.
    fn name(&self) -> String {
        let Choice { kernel, width, hold, affine, statistics, keep, reduction, before, modulation, together, halves } =
            self.choice;
        let hold = match hold {
            Hold::Registers(items) => format!("-registers{items}"),
            Hold::Chunks(items) => format!("-chunks{items}"),
            Hold::Columns { rows, span } => format!("-columns{rows}x{span}"),
            Hold::None => String::new(),
        };
        let files = self.choice.files();
        let slots = [
            ("<affine>", format!("-{affine:?}{together}")),
            ("<statistics>", format!("-{statistics:?}")),
            ("<keep>", format!("-{keep:?}")),
        ];
        let slots = slots.into_iter().filter(|(slot, _)| files.iter().any(|file| file.uses.contains(slot)));
        let slots: String = slots.map(|(_, choice)| choice.to_lowercase()).collect();
        let bound = |access: Access| {
            let names = self.tensors.iter().filter(|tensor| tensor.access == access).map(|tensor| tensor.role);
            names.map(|role| format!("-{}", role.shader_name())).collect::<String>()
        };
        let (kernel, width, reduction) = (kernel.name(), format!("{width:?}").to_lowercase(), reduction.name());
        let (read, written) = (bound(Access::Read), bound(Access::ReadWrite));
        let through: String =
            self.through.iter().map(|(of, by)| format!("-{}_in_{}", of.shader_name(), by.shader_name())).collect();
        let within: String =
            self.within.iter().map(|(of, by)| format!("-{}_within_{}", of.shader_name(), by.shader_name())).collect();
        let halves = halves.name();
        let modulation = match modulation {
            Modulating::None => "",
            Modulating::Folded => "-folded",
            Modulating::Apart(Spread::Packs) => "-packs",
            Modulating::Apart(Spread::Numbers) => "-numbers",
        };
        // A residual is among the tensors.
        let before = match before {
            Before::Nothing | Before::Residual => "",
            Before::Gate(Spread::Packs) => "-gatepacks",
            Before::Gate(Spread::Numbers) => "-gatenumbers",
        };
        format!(
            "{kernel}-{width}{hold}{slots}-{reduction}{halves}{modulation}{before}-from{read}-to{written}{through}{within}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plans that no adapter at hand asks for, drawn at random: their shaders are listed too.
    #[test]
    fn plans_of_any_device_are_listed() {
        let alike = |choice: Choice| choice.alone().several_at_a_time();
        let listed: BTreeSet<Choice> = LISTED.values().map(|(variant, _)| alike(variant.choice)).collect();
        let mut state = 1u64;
        let mut next = |most: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            1 + (state >> 33) as usize % most
        };
        for _ in 0..3000 {
            let (n, c, length) = (next(400), 4 * next(16), [next(20), next(300), next(20_000)][next(3) - 1]);
            let norm: Box<dyn Norm> = match next(8) {
                1 => Box::new(LayerNorm::new(&[n, length], &[length]).unwrap()),
                2 => Box::new(GroupNorm::new(&[n, c, length], 4, 1).unwrap()),
                3 => Box::new(GroupNorm::new(&[n, length, c], 4, 2).unwrap()),
                4 => Box::new(InstanceNorm::new(&[n, length, c], 2).unwrap()),
                5 => Box::new(BatchNorm::new(&[n, c, length], 1).unwrap()),
                6 => Box::new(LayerNorm::over_axes(&[n, c, length], &[1]).unwrap()),
                7 => Box::new(LayerNorm::over_axes(&[n, c, 5, length], &[1, 3]).unwrap()),
                _ => Box::new(BatchNorm::new(&[n, length, c], 2).unwrap().eval()),
            };
            let subgroup = [None, Some(4), Some(8), Some(16), Some(32), Some(64)][next(6) - 1];
            let capabilities = Capabilities {
                software: next(2) == 1,
                subgroup_sizes: subgroup.map(|size| (size, size)),
                max_invocations: [256, 1024, 128][next(3) - 1],
                max_storage_buffers: [8, 4][next(2) - 1],
                ..Capabilities::from_limits(&wgpu::Limits::default())
            };
            let tuning = if next(4) == 1 { Tuning::BatchInvariant } else { Tuning::Heuristic };
            for problem in problems(norm.as_ref()) {
                let Ok(plan) = Plan::aligned(problem, &capabilities, tuning, next(3) > 1) else { continue };
                for choice in plan.passes().iter().map(|pass| alike(pass.choice(Before::Nothing))) {
                    assert!(listed.contains(&choice), "{choice:?} of {plan} on {capabilities:?}");
                }
            }
        }
    }

    /// A slot without a file would be left out without a word.
    #[test]
    fn every_slot_is_filled() {
        for (name, (variant, _)) in LISTED.iter() {
            let files = variant.choice.files();
            let slots =
                files.iter().flat_map(|file| &file.uses).filter_map(|used| used.strip_prefix('<')?.strip_suffix('>'));
            for slot in slots {
                let folder = format!("slots/{slot}/");
                assert_eq!(
                    files.iter().filter(|file| file.path.starts_with(&folder)).count().min(1),
                    1,
                    "{slot} of {name}"
                );
            }
        }
    }
}
