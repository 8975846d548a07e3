//! What an adapter's arithmetic does, and plans that go by it.

use wgpu_norm::{Capabilities, Context, LayerNorm, Probe};

use crate::support::{Case, Kind, gpu};

#[test]
fn the_probe_finds_sane_facts() {
    let probe = gpu().probe_blocking().unwrap();
    assert!(probe.keeps_hidden(), "{probe:?}");
    assert!(probe.runs_loops() && probe.iterations <= Probe::ITERATIONS, "{probe:?}");
    assert!(probe.iterations_of_two <= Probe::ITERATIONS, "{probe:?}");
    // As exact as WGSL asks.
    assert!((0.0..=2.5).contains(&probe.division_ulp), "{probe:?}");
    assert!((0.0..=4.0).contains(&probe.sqrt_ulp), "{probe:?}");
    // Where the static rule relies on plain subtractions, the suite has relied on them too.
    if !gpu().context().capabilities().reassociates {
        assert!(probe.keeps_subtractions(), "{probe:?}");
    }
    assert_eq!(probe, gpu().probe_blocking().unwrap());
    assert_eq!(probe, Probe::of_blocking(gpu().device(), gpu().queue()).unwrap());
}

#[test]
fn capabilities_after_a_probe_avoid_what_it_found() {
    let mut probe = gpu().probe_blocking().unwrap();
    probe.packs_exactly = false;
    let mut trusting = gpu().context().capabilities().clone();
    trusting.reassociates = false;
    let mut hiding = trusting.clone();
    hiding.reassociates = true;

    probe.plain_error = 0.03;
    assert!(!probe.keeps_subtractions());
    assert_eq!(trusting.clone().after(&probe), hiding);
    assert_eq!(hiding.clone().after(&probe), hiding);
    // NaN where there should be a number is as wrong.
    probe.plain_error = f64::INFINITY;
    assert_eq!(trusting.clone().after(&probe), hiding);
    // One probe is no proof for every kernel: what was hidden stays hidden.
    probe.plain_error = 1e-7;
    assert!(probe.keeps_subtractions());
    assert_eq!(trusting.clone().after(&probe), trusting);
    assert_eq!(hiding.clone().after(&probe), hiding);
}

/// An exact pack is used where it was found, and nowhere else; by software never.
#[test]
fn capabilities_after_a_probe_pack_by_what_it_found() {
    let mut probe = gpu().probe_blocking().unwrap();
    for (found, software) in [(true, true), (true, false), (false, true), (false, false)] {
        probe.packs_exactly = found;
        let mut capabilities = gpu().context().capabilities().clone();
        assert!(!capabilities.exact_pack);
        capabilities.software = software;
        assert_eq!(capabilities.after(&probe).exact_pack, found && !software);
    }
}

#[test]
fn a_probed_gpu_plans_by_the_probe_and_is_right() {
    let probe = gpu().probe_blocking().unwrap();
    let probed = gpu().clone().probed_blocking().unwrap();
    assert_eq!(*probed.context().capabilities(), Capabilities::of(gpu().device()).after(&probe));
    let case = Case::new(Kind::Layer { ndim: 1 }, &[5, 70], 1e6);
    case.check_on("probed", &probed, &case.oracle());
    let context = Context::with_capabilities(gpu().device(), Capabilities::of(gpu().device()).after(&probe));
    assert!(context.plan(&LayerNorm::new(&[5, 70], &[70]).unwrap()).is_ok());
}
