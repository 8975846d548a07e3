//! Random norms, shapes and plans.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed};
use wgpu_norm::{BindError, Error, Gpu, LayerNorm, SpecError};

use super::{Kind, changed, gpus, thorough};

/// Unless `PROPTEST_RNG_SEED` says otherwise.
const SEED: u64 = 0x6e6f_726d;

pub const MOST_ELEMENTS: usize = 60_000;

#[derive(Debug, Clone, Copy)]
pub enum Device {
    /// One of [`gpus`], with pipelines that are there already.
    Shared(usize),
    /// What the adapter at hand is planned for as if it were.
    Changed {
        software: bool,
        subgroups: bool,
        max_invocations: Option<u32>,
        max_workgroups: Option<u32>,
        max_binding: Option<u64>,
    },
}

impl Device {
    pub fn with_gpu<T>(self, what: impl FnOnce(&str, &Gpu) -> T) -> T {
        match self {
            Self::Shared(number) => {
                let (label, gpu) = &gpus()[number % gpus().len()];
                what(label, gpu)
            }
            Self::Changed { software, subgroups, max_invocations, max_workgroups, max_binding } => {
                let gpu = changed(|c| {
                    c.software = software;
                    c.subgroup_sizes = c.subgroup_sizes.filter(|_| subgroups);
                    c.max_invocations = max_invocations.unwrap_or(c.max_invocations).min(c.max_invocations);
                    c.max_workgroups = max_workgroups.unwrap_or(c.max_workgroups).min(c.max_workgroups);
                    c.max_binding = max_binding.unwrap_or(c.max_binding).min(c.max_binding);
                });
                what(&format!("{self:?}"), &gpu)
            }
        }
    }

    /// Whether a plan may be refused: only where limits are below those of any device.
    fn may_refuse(self) -> bool {
        match self {
            Self::Shared(_) => false,
            Self::Changed { max_workgroups, max_binding, .. } => max_workgroups.is_some() || max_binding.is_some(),
        }
    }
}

pub fn shapes() -> impl Strategy<Value = Vec<usize>> {
    let axis = prop_oneof![
        30 => 1..=12usize,
        3 => 13..=100usize,
        3 => select(vec![32, 64, 128, 256, 1024, 2048]),
        3 => 101..=3_000usize,
        1 => 3_001..=MOST_ELEMENTS,
        1 => Just(0usize),
    ];
    vec(axis, 1..=5).prop_map(|mut shape| {
        // Of an empty tensor the other axes count: there is a limit to their product, too.
        while shape.iter().filter(|&&n| n > 0).product::<usize>() > MOST_ELEMENTS {
            let longest = shape.iter_mut().max().unwrap();
            *longest = longest.div_ceil(2);
        }
        shape
    })
}

/// Every set of axes there can be, by its bits.
fn axes(rank: usize, mask: u8) -> &'static [isize] {
    static SETS: std::sync::OnceLock<Vec<Vec<isize>>> = std::sync::OnceLock::new();
    let sets = SETS.get_or_init(|| (0..32u8).map(|set| (0..5).filter(|axis| set >> axis & 1 == 1).collect()).collect());
    let mask = mask & ((1 << rank) - 1);
    &sets[usize::from(if mask == 0 { 1 << (rank - 1) } else { mask })]
}

/// A norm that `shape` can have, and so one after shrinking it.
pub fn kind(shape: &[usize], [which, place, part]: [u8; 3], offset: f32) -> Kind {
    let rank = shape.len();
    let (channels, ndim) = (usize::from(place) % rank, usize::from(place) % rank + 1);
    let (axis, axes) = (channels as isize, axes(rank, part));
    // Half of them over axes that make a block.
    let over_axes = place.is_multiple_of(2) && LayerNorm::over_axes(shape, axes).is_ok();
    match which {
        0 if over_axes => Kind::LayerOver { axes },
        0 => Kind::Layer { ndim },
        1 if over_axes => Kind::RmsOver { axes, offset },
        1 => Kind::Rms { ndim, offset },
        2 => {
            let c = shape[channels];
            let divisors: Vec<usize> = (1..=c.max(1)).filter(|n| c.is_multiple_of(*n)).collect();
            Kind::Group { groups: divisors[usize::from(part) % divisors.len()], axis }
        }
        3 => Kind::Instance { axis },
        4 => Kind::BatchTrain { axis },
        5 => Kind::BatchEval { axis },
        6 => Kind::Mvn { axes },
        _ => Kind::Lp { p: u32::from(which % 2) + 1, axes },
    }
}

pub fn devices() -> impl Strategy<Value = Device> {
    let max_invocations = prop::option::of(select(vec![1u32, 2, 6, 16, 32, 100, 128]));
    let max_workgroups = prop::option::of(prop_oneof![1 => 1..=40u32, 1 => 41..=2_000u32]);
    let max_binding = prop::option::of((8..=256u64).prop_map(|k| k * 1024 / 4));
    let changed = (any::<bool>(), any::<bool>(), max_invocations, max_workgroups, max_binding).prop_map(
        |(software, subgroups, max_invocations, max_workgroups, max_binding)| Device::Changed {
            software,
            subgroups,
            max_invocations,
            max_workgroups,
            max_binding,
        },
    );
    prop_oneof![3 => (0..4usize).prop_map(Device::Shared), 1 => changed]
}

/// False: refusals are for limits that are too low, and say by how much.
pub fn refused(error: Error, device: Device, what: &str) -> bool {
    let (needs, has) = match error {
        Error::Spec(SpecError::Limit { needs, has, .. })
        | Error::Bind(
            BindError::Limit(SpecError::Limit { needs, has, .. }) | BindError::BindingSize { needs, has, .. },
        ) => (needs, has),
        other => panic!("{other} {what}"),
    };
    // A binding starts at an aligned offset before its tensor, of at most 256 bytes.
    assert!(needs + 256 > has && device.may_refuse(), "{needs} {has} {what}");
    false
}

/// The same on every run, unless the environment says otherwise; a third of the cases unless all are to run.
pub fn config(cases: u32) -> Config {
    let cases = if thorough() { cases } else { cases / 3 };
    let from_environment = Config::default();
    Config {
        cases: std::env::var_os("PROPTEST_CASES").map_or(cases, |_| from_environment.cases),
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: match from_environment.rng_seed {
            RngSeed::Random => RngSeed::Fixed(SEED),
            fixed @ RngSeed::Fixed(_) => fixed,
        },
        max_shrink_iters: 500,
        ..from_environment
    }
}
