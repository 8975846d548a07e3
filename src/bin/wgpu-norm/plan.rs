//! `wgpu-norm plan`: how a norm would run on this machine.

use serde_json::{Value, json};
use wgpu_norm::{Backward, Block, Gpu, Momentum, Plan, VarianceEstimator};

use crate::adapters;
use crate::cli;
use crate::failure::Failure;
use crate::specify::{self, Numbers, Running};

pub(crate) fn run(options: &cli::Plan) -> Result<(), Failure> {
    options.check()?;
    // Any will do: no plan depends on them.
    let running = Running { momentum: Momentum::exponential(0.1), variance: VarianceEstimator::Biased };
    let numbers =
        Numbers { eps: wgpu_norm::DEFAULT_EPS, weight_offset: 0.0, running: options.track.then_some(running) };
    let refused = |error: wgpu_norm::SpecError| {
        specify::refusal(specify::option(&error, options.norm.groups.is_some(), "--shape"), &error)
    };
    let norm = specify::norm(&options.norm, &options.shape.0, &numbers).map_err(refused)?;
    let gpu = adapters::start(options.adapter.as_deref())?;
    let plan = match (options.backward, options.saved_statistics) {
        (false, _) => gpu.context().plan(norm.as_ref()),
        (true, false) => gpu.context().plan_backward(norm.as_ref(), Backward::new()),
        (true, true) => gpu.context().plan_backward(norm.as_ref(), Backward::new().saved_statistics()),
    }
    .map_err(refused)?;
    crate::print(&if options.json { json_of(options, &gpu, &plan) } else { text_of(options, &gpu, &plan) })
}

fn text_of(options: &cli::Plan, gpu: &Gpu, plan: &Plan) -> String {
    let tensors = if options.backward { "x, dy and dx" } else { "x and y" };
    format!(
        "{plan}\nreads and writes: {} bytes of {tensors}\nscratch: {} bytes\nadapter: {}\n",
        plan.bytes_moved(),
        plan.scratch_bytes(),
        gpu.describe()
    )
}

fn json_of(options: &cli::Plan, gpu: &Gpu, plan: &Plan) -> String {
    let Block { b, r, k, s } = plan.block();
    let passes: Vec<Value> = plan
        .passes()
        .iter()
        .map(|pass| {
            json!({
                "kernel": pass.name(),
                "workgroups": pass.workgroups(),
                "workgroup_size": pass.workgroup_size(),
                "words": pass.to_string(),
            })
        })
        .collect();
    let object = json!({
        "adapter": adapters::identity(gpu.adapter_info()),
        "norm": plan.norm(),
        "direction": if options.backward { "backward" } else { "forward" },
        "shape": plan.shape(),
        "block": [b, r, k, s],
        "passes": passes,
        "bytes_moved": plan.bytes_moved(),
        "scratch_bytes": plan.scratch_bytes(),
        "words": plan.to_string(),
    });
    format!("{object}\n")
}
