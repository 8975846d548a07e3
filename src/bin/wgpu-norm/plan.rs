//! `wgpu-norm plan`: how a norm would run on this machine.

use serde_json::{Value, json};
use wgpu_norm::sample::Running;
use wgpu_norm::{Backward, Block, Gpu, Plan, Rounding};

use crate::cli::ParameterOptions;
use crate::failure::{Failure, print};
use crate::{adapters, cli, specify, usage};

pub(crate) fn run(options: &cli::Plan) -> Result<(), Failure> {
    usage::check_plan(options)?;
    // Any will do: no plan depends on them.
    let running = options.track.then_some(Running::USUAL);
    let given = [options.norm.groups.is_some(), options.norm.axes.is_some()];
    let refused = |error: wgpu_norm::SpecError| {
        specify::refusal(specify::option(&error, given, "--shape", "--modulated"), &error)
    };
    let modulated = options.modulated.as_ref().map(|dims| &dims.0[..]);
    let (none, shape) = (ParameterOptions::default(), &options.shape.0);
    let norm = specify::norm(&options.norm, &none, shape, running, Rounding::AtEnd, modulated, options.plus_skip)
        .map_err(refused)?;
    let gpu = adapters::start(options.adapter.as_deref())?;
    let plan = match (options.backward, options.saved_statistics) {
        (false, _) => gpu.context().plan(norm.as_ref()),
        (true, false) => gpu.context().plan_backward(norm.as_ref(), Backward::new()),
        (true, true) => gpu.context().plan_backward(norm.as_ref(), Backward::new().saved_statistics()),
    }
    .map_err(refused)?;
    print(&if options.json { json_of(options, &gpu, &plan) } else { text_of(options, &gpu, &plan) })
}

/// Words of a plan, how the legend has them, and what they mean.
const LEGEND: [(&str, &str, &str); 9] = [
    (" block ", "block [B, R, K, S]", "x as four axes: B x K groups, of R x S elements each"),
    (" invocations", "A x B invocations", "A workgroups of B lanes; a lane is one invocation of the shader"),
    (" to a tile", "N to a tile", "N lanes share a tile: neighbouring elements, of a whole group or a part of one"),
    (" across and ", "N across and M down", "N of a workgroup's lanes side by side over the columns, M down the rows"),
    (" by subgroup", "by subgroup", "lanes exchange values within a subgroup, the lanes that run in step"),
    (" by workgroup", "by workgroup", "lanes exchange values through the memory of their workgroup"),
    ("-wide", "N-wide", "a lane loads and stores N neighbouring elements at a time; 4 are 16 bytes"),
    (" by words", "by words", "a lane stores words of two 16-bit elements, rows of even and of odd number in turn"),
    (" windows", "N windows", "the tensor is larger than a binding: a dispatch for each part of it"),
];

fn text_of(options: &cli::Plan, gpu: &Gpu, plan: &Plan) -> String {
    let tensors = if options.backward { "x, dy and dx" } else { "x and y" };
    let words = plan.to_string();
    let legend: String = LEGEND
        .iter()
        .filter(|(term, ..)| words.contains(term))
        .map(|(_, term, meaning)| format!("  {term:21}{meaning}\n"))
        .collect();
    format!(
        "{words}\nreads and writes: {} bytes of {tensors}\nscratch: {} bytes\nadapter: {}\n\n{legend}",
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
        "activation": options.norm.activation.map(cli::word),
        "modulated": options.modulated.as_ref().map(|dims| &dims.0),
        "plus_skip": options.plus_skip,
        "dtype": options.norm.dtype.to_string(),
        "block": [b, r, k, s],
        "passes": passes,
        "bytes_moved": plan.bytes_moved(),
        "scratch_bytes": plan.scratch_bytes(),
        "words": plan.to_string(),
    });
    format!("{object}\n")
}
