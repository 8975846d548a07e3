//! What is planned on platforms that are not at hand: `tests/platforms/plans.txt`. With `WGPU_NORM_WRITE=1` it is written anew, so that a
//! change of a rule shows in the file's history what it changes, and where.

use wgpu_norm::{Context, Plan, SpecError, Tuning};

use crate::support::{generated, gpu, in_repository};
use list::{Platform, norms, platforms};

#[path = "../../examples/shaders/platforms.rs"]
mod list;

/// The plans of one norm, with the platforms that each is of.
fn plans(platforms: &[Platform], plan: impl Fn(Context) -> String) -> String {
    let mut plans: Vec<(String, Vec<&str>)> = Vec::new();
    for Platform { name, capabilities } in platforms {
        let plan = plan(Context::with_capabilities(gpu().device(), capabilities.clone()));
        match plans.iter_mut().find(|(there, _)| *there == plan) {
            Some((_, names)) => names.push(name),
            None => plans.push((plan, vec![name])),
        }
    }
    let text =
        plans.iter().map(|(plan, names)| format!("{}\n    {}\n", names.join(", "), plan.replace('\n', "\n    ")));
    text.collect::<Vec<_>>().concat()
}

#[test]
fn the_plans_of_all_platforms_are_current() {
    let platforms = platforms();
    let mut text = String::new();
    for (title, norm, backward) in norms() {
        let mut add = |what: &str, plan: &dyn Fn(Context) -> Result<Plan, SpecError>| {
            let plans = plans(&platforms, |context| plan(context).unwrap().to_string());
            text.push_str(&format!("== {title}, {what}\n{plans}\n"));
        };
        add("forward", &|context| context.plan(norm.as_ref()));
        match backward {
            Some(wanted) => add("backward", &|context| context.plan_backward(norm.as_ref(), wanted)),
            None => add("batch invariant", &|context| context.with_tuning(Tuning::BatchInvariant).plan(norm.as_ref())),
        }
    }
    generated(&in_repository("tests/platforms/plans.txt"), &text);
}
