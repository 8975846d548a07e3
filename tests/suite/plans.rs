//! Plans as the pure functions they are, for devices of every size that nobody here has.

use wgpu_norm::{
    Backward, BatchNorm, Capabilities, Context, GroupNorm, InstanceNorm, LayerNorm, Norm, Pass, Plan, RmsNorm,
    SpecError,
};

use crate::support::{gpu, thorough};

/// Some drivers stop a loop at 65,535 iterations (llvmpipe), others kill a dispatch that takes long.
const MOST_ITERATIONS: u64 = 65_535;

/// Scratch that nobody minds: two sums for each of the 16 elements that the 65,536 lanes that keep a GPU busy hold of a row, and a little. A
/// large tensor may have a tenth of itself.
const SMALL_SCRATCH: u64 = 9 << 20;

/// A GPU as WebGPU promises it, with memory without end.
fn device() -> Capabilities {
    let mut capabilities = gpu().context().capabilities().clone();
    capabilities.subgroup_sizes = None;
    capabilities.software = false;
    capabilities.reassociates = true;
    capabilities.max_invocations = 256;
    capabilities.max_workgroups = 65_535;
    capabilities.max_binding = u64::MAX;
    capabilities.max_buffer = u64::MAX;
    capabilities
}

fn changed(change: impl FnOnce(&mut Capabilities)) -> Capabilities {
    let mut capabilities = device();
    change(&mut capabilities);
    capabilities
}

fn limited(capabilities: &Capabilities, max_invocations: u32) -> Capabilities {
    let mut capabilities = capabilities.clone();
    capabilities.max_invocations = max_invocations;
    capabilities
}

/// Every kind of device there is: hardware and software, with subgroups of every size and without.
fn devices() -> Vec<Capabilities> {
    let sizes = [None, Some((4, 4)), Some((8, 8)), Some((8, 32)), Some((16, 16)), Some((32, 32))];
    let larger = [Some((32, 64)), Some((64, 64)), Some((64, 128)), Some((128, 128)), Some((4, 128))];
    let mut devices = Vec::new();
    for software in [false, true] {
        for subgroup_sizes in sizes.into_iter().chain(larger) {
            devices.push(changed(|c| (c.software, c.subgroup_sizes) = (software, subgroup_sizes)));
        }
    }
    devices
}

fn try_plan(norm: &dyn Norm, capabilities: &Capabilities) -> Result<Plan, SpecError> {
    Context::with_capabilities(gpu().device(), capabilities.clone()).plan(norm)
}

fn plan(norm: &dyn Norm, capabilities: &Capabilities) -> Plan {
    try_plan(norm, capabilities).unwrap_or_else(|error| panic!("{error} {capabilities:?}"))
}

fn names(plan: &Plan) -> Vec<&'static str> {
    plan.passes().iter().map(Pass::name).collect()
}

fn layer(rows: usize, width: usize) -> Box<dyn Norm> {
    Box::new(LayerNorm::new(&[rows, width], &[width]).unwrap())
}

/// The three lives of a batch norm, in each order of axes that makes sense.
fn batch(shape: &[usize]) -> Vec<Box<dyn Norm>> {
    let last = shape.len() as isize - 1;
    let mut all: Vec<Box<dyn Norm>> = Vec::new();
    for axis in if last == 1 { vec![1] } else { vec![1, last] } {
        let norm = BatchNorm::new(shape, axis).unwrap();
        all.extend([
            Box::new(norm.clone()) as Box<dyn Norm>,
            Box::new(norm.clone().without_tracking()),
            Box::new(norm.eval()),
        ]);
    }
    all
}

/// The layers that people have.
fn realistic() -> Vec<Box<dyn Norm>> {
    let mut all: Vec<Box<dyn Norm>> = Vec::new();
    let rows = [
        (1, 1),
        (1, 768),
        (8192, 768),
        (4096, 4096),
        (16_384, 1024),
        (32 * 197, 768),
        (2048, 12_288),
        (131_072, 64),
        (1_000_000, 32),
        (10_000_000, 3),
        (64, 50_257),
        (3, 1_000_003),
        (1, 3_000_000),
        (4, 30_000_000),
    ];
    for (rows, width) in rows {
        all.push(layer(rows, width));
        all.push(Box::new(RmsNorm::new(&[rows, width], &[width]).unwrap()));
    }
    let images: [&[usize]; 14] = [
        &[8, 256, 64, 64],
        &[1, 320, 128, 128],
        &[16, 512, 16, 16],
        &[2, 1280, 8, 8],
        &[1, 128, 512, 512],
        &[4, 64, 256, 256],
        &[1, 32, 1024, 1024],
        &[64, 96, 7, 7],
        &[128, 32, 3, 3],
        &[256, 64, 1, 1],
        &[256, 1024, 4, 4],
        &[512, 512, 2, 2],
        &[2, 32, 16, 128, 128],
        &[1, 1024, 4096],
    ];
    for shape in images {
        let last_shape: Vec<usize> = [&shape[..1], &shape[2..], &shape[1..2]].concat();
        for groups in [1, 8, 32] {
            all.push(Box::new(GroupNorm::channels_first(shape, groups).unwrap()));
            all.push(Box::new(GroupNorm::channels_last(&last_shape, groups).unwrap()));
        }
        all.push(Box::new(InstanceNorm::channels_first(shape).unwrap()));
        all.push(Box::new(InstanceNorm::channels_last(&last_shape).unwrap()));
        all.extend(batch(shape));
        all.extend(batch(&last_shape));
    }
    let batches: [&[usize]; 13] = [
        &[128, 3, 224, 224],
        &[32, 64, 112, 112],
        &[256, 512, 14, 14],
        &[256, 2048, 7, 7],
        &[1024, 64, 3, 3],
        &[8192, 512, 3, 3],
        &[8, 32, 16, 64, 64],
        &[4096, 1024],
        &[65_536, 256],
        &[1_000_000, 8],
        &[10_000_000, 3],
        &[3, 10_000_000],
        &[100_000_000, 2],
    ];
    for shape in batches {
        all.extend(batch(shape));
    }
    all
}

/// A number of a pass that only its `Debug` tells: planned work has no accessors, and needs none but here.
fn number(pass: &Pass, part: &str, name: &str) -> u64 {
    let text = format!("{pass:?}");
    let of_part = text.split(&format!("{part} {{ ")).nth(1).unwrap_or_else(|| panic!("no {part}: {text}"));
    let mut fields = of_part.split(" }").next().unwrap().split(", ");
    let field = fields.find_map(|field| field.strip_prefix(name)?.strip_prefix(": "));
    field.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no {name} in {part}: {text}"))
}

fn work(pass: &Pass, name: &str) -> u64 {
    number(pass, "Work", name)
}

fn lanes(pass: &Pass) -> u64 {
    number(pass, "Team", "lanes")
}

fn grid(pass: &Pass) -> (u64, u64) {
    (number(pass, "Grid", "width"), number(pass, "Grid", "height"))
}

fn width(pass: &Pass) -> u64 {
    if format!("{pass:?}").contains("width: Scalar") { 1 } else { 4 }
}

/// Neighbouring packs of columns that fall to a lane.
fn span(pass: &Pass) -> u64 {
    number(pass, "Columns", "span")
}

/// The iterations of all loops of one invocation together.
fn iterations(pass: &Pass) -> u64 {
    match pass.name() {
        "count_batch" => 1,
        "merge" => work(pass, "partials").div_ceil(lanes(pass)),
        // Of each pack of a chunk: load, mean and deviations.
        "stats_columns" => span(pass) * (3 * work(pass, "tile_length") + 8),
        // Of each row: to go on, to read, and to store.
        "apply_columns" | "backward_apply_columns" => (2 * span(pass) + 3) * (work(pass, "tile_length") + 8),
        "fused_columns" => span(pass) * (4 * work(pass, "tile_length") + 8),
        "fused_tall_columns" => (8 * span(pass) + 3) * (work(pass, "tile_length") + 8),
        "backward_fused_tall_columns" => (9 * span(pass) + 5) * (work(pass, "tile_length") + 8),
        "running_statistics" => 1,
        "merge_sums" | "merge_parameters" => work(pass, "partials").div_ceil(lanes(pass)),
        "sums_columns" => span(pass) * (work(pass, "tile_length") + 8),
        // Those, and the normalization; as many again to go from chunk to chunk, at most.
        "fused_rows" => 5 * work(pass, "items"),
        "stats_rows" => 4 * work(pass, "items"),
        _ => 2 * work(pass, "items"),
    }
}

/// Whether every element is some lane's, and no lane is told more than a u32 holds.
fn covers(plan: &Plan, pass: &Pass) {
    let block = plan.block();
    let what = format!("{} of {plan}", pass.name());
    let wide = width(pass);
    let size = u64::from(pass.workgroup_size());
    match pass.name() {
        "count_batch" => assert_eq!((pass.workgroups(), size), (1, 1), "{what}"),
        "stats_columns" | "apply_columns" | "fused_columns" | "fused_tall_columns" => {
            let (rows, pitch) = (work(pass, "rows"), work(pass, "pitch"));
            assert_eq!((rows * pitch, pitch % (block.k * block.s)), (block.r * block.k * block.s, 0), "{what}");
            assert_eq!(pitch % (wide * span(pass)), 0, "a lane's columns end with the row's: {what}");
            let across = work(pass, "column_lanes");
            let down = work(pass, "row_lanes");
            assert!(across * down <= size, "{what}");
            assert!(across * work(pass, "column_blocks") * wide * span(pass) >= pitch, "{what}");
            let tall = work(pass, "row_tiles") / down;
            assert_eq!(work(pass, "row_tiles") % down, 0, "{what}");
            assert!(tall * down * work(pass, "tile_length") >= rows, "{what}");
            assert!((tall - 1) * down * work(pass, "tile_length") < rows, "a row of tiles has no rows: {what}");
            assert_eq!(pass.workgroups(), block.b * work(pass, "column_blocks") * tall, "{what}");
        }
        name => {
            assert!(lanes(pass).is_power_of_two() && lanes(pass) <= size, "{what}");
            let tiles = if name == "merge" { block.groups() } else { work(pass, "tiles") };
            let at_once = size / lanes(pass);
            assert!(pass.workgroups() * at_once >= tiles, "{what}");
            assert!((pass.workgroups() - 1) * at_once < tiles, "a workgroup has no tile: {what}");
            if name != "merge" {
                let length = work(pass, "tile_length");
                assert_eq!(tiles, block.groups() * block.r * work(pass, "tiles_per_run"), "{what}");
                assert!(
                    work(pass, "tiles_per_run") * length >= block.s
                        && (work(pass, "tiles_per_run") - 1) * length < block.s,
                    "{what}"
                );
                assert!(work(pass, "items") * lanes(pass) * wide >= length, "{what}");
            }
            // Tiles are numbered by workgroup and lane, in a u32, also by those that have no tile.
            let (width, height) = grid(pass);
            assert!(width * height * at_once <= 1 << 32, "the last invocations would start again at tile 0: {what}");
        }
    }
}

/// Everything that holds for every plan.
fn check(norm: &dyn Norm, capabilities: &Capabilities) {
    let plan = plan(norm, capabilities);
    let what = format!("{plan}\n{capabilities:?}");
    let block = plan.block();
    let elements: u64 = norm.shape().iter().map(|&n| n as u64).product();
    assert_eq!(block.elements(), elements, "{what}");

    let text = plan.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1 + plan.passes().len(), "{what}");
    for (line, pass) in lines.iter().skip(1).zip(plan.passes()) {
        let start = format!("  {}: {} x {} invocations", pass.name(), pass.workgroups(), pass.workgroup_size());
        assert!(line.starts_with(&start), "{what}");
    }

    let reads_and_writes = match names(&plan)[..] {
        ["fused_rows"] | ["fused_columns"] | ["fused_tall_columns"] | ["apply_rows"] | ["apply_columns"] => 2,
        ["stats_rows", "merge", "apply_rows"] | ["stats_columns", "merge", "apply_columns"] => 3,
        ["stats_rows", "merge", "count_batch", "apply_rows"]
        | ["stats_columns", "merge", "count_batch", "apply_columns"] => 3,
        _ => panic!("{what}"),
    };
    assert_eq!(plan.bytes_moved(), reads_and_writes * 4 * elements, "{what}");

    if reads_and_writes == 2 {
        assert_eq!(plan.scratch_bytes(), 0, "{what}");
    } else {
        let merge = plan.passes().iter().find(|pass| pass.name() == "merge").unwrap();
        let records = block.groups() * (work(merge, "partials") + 1);
        assert_eq!(plan.scratch_bytes(), 16 * records, "{what}");
        assert!(records <= 1 << 32, "{what}");
    }

    for pass in plan.passes() {
        let size = pass.workgroup_size();
        assert!((1..=capabilities.max_invocations).contains(&size), "{what}");
        if let Some((_, largest)) = capabilities.subgroup_sizes {
            if largest <= capabilities.max_invocations.min(256) && pass.name() != "count_batch" {
                assert_eq!(size % largest, 0, "part of a subgroup\n{what}");
            }
        } else {
            assert!(!text.contains("by subgroup"), "{what}");
        }
        let (width, height) = grid(pass);
        let most = u64::from(capabilities.max_workgroups);
        assert!(width <= most && height <= most, "{what}");
        let idle = (width * height).checked_sub(pass.workgroups());
        assert!(idle.is_some_and(|idle| idle < height), "{width} x {height}\n{what}");
        assert!(height == 1 || pass.workgroups() > most, "{width} x {height}, although one dimension would do\n{what}");
        covers(&plan, pass);
    }
}

#[test]
fn realistic_layers_on_every_device() {
    for norm in realistic() {
        for capabilities in devices() {
            check(norm.as_ref(), &capabilities);
        }
    }
}

/// Limits of any size, not only those that devices have today.
#[test]
fn every_workgroup_limit() {
    let norms: Vec<Box<dyn Norm>> = vec![
        layer(7, 768),
        layer(2, 40_000),
        layer(1, 3_000_000),
        Box::new(GroupNorm::channels_first(&[2, 6, 5, 5], 2).unwrap()),
        Box::new(GroupNorm::channels_last(&[2, 33, 33, 96], 32).unwrap()),
        Box::new(InstanceNorm::channels_last(&[2, 33, 3]).unwrap()),
        Box::new(BatchNorm::channels_first(&[64, 5, 9]).unwrap()),
        Box::new(BatchNorm::channels_last(&[5000, 1000]).unwrap()),
        Box::new(BatchNorm::channels_last(&[5000, 7]).unwrap().eval()),
    ];
    // Every second device: this is the most there is to plan.
    for capabilities in devices().iter().step_by(2) {
        for max_invocations in (1..=1024).step_by(if thorough() { 1 } else { 7 }) {
            let capabilities = limited(capabilities, max_invocations);
            for norm in &norms {
                check(norm.as_ref(), &capabilities);
            }
        }
    }
}

/// On the workgroups that WebGPU promises, and half and a quarter of them.
#[test]
fn no_invocation_loops_too_long() {
    for norm in realistic() {
        for capabilities in devices() {
            for max_invocations in [64, 128, 256, 1024] {
                let plan = plan(norm.as_ref(), &limited(&capabilities, max_invocations));
                for pass in plan.passes() {
                    let most = iterations(pass);
                    assert!(most <= MOST_ITERATIONS, "{most} in {}\n{plan}\n{capabilities:?}", pass.name());
                }
            }
        }
    }
}

#[test]
fn scratch_is_small() {
    let mut large = Vec::new();
    for norm in realistic() {
        let plans = devices().into_iter().map(|capabilities| plan(norm.as_ref(), &capabilities));
        let worst = plans.max_by_key(Plan::scratch_bytes).unwrap();
        let (scratch, x) = (worst.scratch_bytes(), 4 * worst.block().elements());
        // A partial and the statistics of each group, which is more than that where groups have few elements.
        let least = 32 * worst.block().groups();
        if scratch > SMALL_SCRATCH.max(x / 10).max(least) {
            large.push(format!("{scratch} bytes, {} % of x: {worst}", scratch * 100 / x));
        }
    }
    assert!(large.is_empty(), "{} layers\n{}", large.len(), large.join("\n"));
}

/// Every backward plan of every norm that has one.
fn backward_plans(norm: &dyn Norm, capabilities: &Capabilities) -> Vec<Plan> {
    let context = Context::with_capabilities(gpu().device(), capabilities.clone());
    let dx = Backward::new().without_weight().without_bias();
    let mut all = vec![Backward::new(), dx, Backward::new().without_input()];
    all.extend(all.clone().into_iter().map(Backward::saved_statistics));
    let plan = |wanted: Backward| match context.plan_backward(norm, wanted) {
        Err(SpecError::SavedRunning { .. }) => None,
        plan => Some(plan.unwrap_or_else(|error| panic!("{error} {wanted:?} {:?}", norm.shape()))),
    };
    all.into_iter().filter_map(plan).collect()
}

#[test]
fn gradients_of_rows_are_one_reading_on_a_gpu() {
    let passes = |norm: &dyn Norm, capabilities: &Capabilities, wanted: Backward| {
        let context = Context::with_capabilities(gpu().device(), capabilities.clone());
        let plan = context.plan_backward(norm, wanted).unwrap();
        let elements: u64 = norm.shape().iter().map(|&n| n as u64).product();
        (names(&plan).join(" "), plan.bytes_moved() / (4 * elements), plan.scratch_bytes())
    };
    let software = changed(|c| (c.software, c.subgroup_sizes) = (true, Some((8, 8))));
    for (rows, width) in [(8192, 768), (16_384, 1024), (65_536, 64), (2048, 4096), (1_000_000, 16)] {
        for wanted in [Backward::new(), Backward::new().saved_statistics()] {
            let (names, moved, scratch) = passes(layer(rows, width).as_ref(), &device(), wanted);
            assert_eq!((names.as_str(), moved), ("backward_fused_parameters merge_parameters", 3), "{rows} {width}");
            assert!(scratch <= SMALL_SCRATCH, "{scratch} {rows} {width}");
            let (_, moved, _) = passes(layer(rows, width).as_ref(), &software, wanted);
            assert_eq!(moved, 5);
        }
    }
    // Beyond what registers hold besides: by columns.
    let (names, moved, _) = passes(layer(2048, 16_384).as_ref(), &device(), Backward::new());
    assert_eq!((names.as_str(), moved), ("backward_fused_rows sums_columns merge_parameters", 5));
}

#[test]
fn gradients_of_realistic_layers_on_every_device() {
    for norm in realistic() {
        let elements: u64 = norm.shape().iter().map(|&n| n as u64).product();
        for capabilities in devices().iter().step_by(3) {
            for plan in backward_plans(norm.as_ref(), capabilities) {
                let what = format!("{plan}\n{capabilities:?}");
                for pass in plan.passes() {
                    assert!((1..=capabilities.max_invocations).contains(&pass.workgroup_size()), "{what}");
                    let most = iterations(pass);
                    assert!(most <= MOST_ITERATIONS, "{most} in {}\n{what}", pass.name());
                }
                let moved = plan.bytes_moved() / (4 * elements);
                assert!((2..=8).contains(&moved) && plan.bytes_moved() % (4 * elements) == 0, "{moved} {what}");
                // A few MB however many rows there are, for moments and for sums, and a sum for each weight; or, by group and
                // channel, little beside x.
                let groups = plan.block().groups();
                let channels: u64 = norm.parameter_shape().iter().map(|&n| n as u64).product();
                let least = 40 * groups + 16 * groups.max(channels);
                let by_rows = plan.block().r == 1 && plan.block().s == channels;
                let least = if by_rows { SMALL_SCRATCH + 8 * channels } else { least };
                let most = (SMALL_SCRATCH * 3 / 2).max(elements * 4 / 10).max(least);
                assert!(plan.scratch_bytes() <= most, "{} bytes {what}", plan.scratch_bytes());
            }
        }
    }
}

/// The most elements there can be, in every extreme of shape: nothing overflows, and every tile is numbered.
#[test]
fn the_largest_tensors() {
    let all = 1 << 31;
    let mut norms: Vec<Box<dyn Norm>> = vec![
        layer(all, 1),
        layer(1, all),
        layer(all / 2, 2),
        layer(all / 5, 5),
        layer(all / 64, 64),
        layer(65_535, 32_767),
        Box::new(GroupNorm::channels_first(&[1, 1 << 16, 32_767], 1 << 16).unwrap()),
        Box::new(GroupNorm::channels_first(&[1, 65_535, 32_767], 1).unwrap()),
        Box::new(GroupNorm::channels_last(&[3, 1 << 28, 2], 2).unwrap()),
        Box::new(InstanceNorm::channels_first(&[65_535, 32_767, 1]).unwrap()),
        Box::new(InstanceNorm::channels_last(&[1, all / 3, 3]).unwrap()),
    ];
    let batches: [&[usize]; 8] = [
        &[all, 1],
        &[1, all],
        &[all / 2, 2],
        &[2, all / 2],
        &[65_535, 32_767],
        &[2, 2, all / 4],
        &[all / 4, 2, 2],
        &[1 << 16, 8, (1 << 12) - 1],
    ];
    for shape in batches {
        norms.extend(batch(shape));
    }
    for norm in &norms {
        for capabilities in devices() {
            // What does not fit is refused; what is planned must be right.
            if try_plan(norm.as_ref(), &capabilities).is_ok() {
                check(norm.as_ref(), &capabilities);
            }
        }
    }
}

#[test]
fn more_workgroups_than_one_dimension_holds() {
    let gpu = device();
    // 16 rows of 64 a workgroup: 62,500 and 93,750 workgroups.
    let narrow = plan(layer(1_000_000, 64).as_ref(), &gpu);
    assert_eq!(grid(&narrow.passes()[0]), (narrow.passes()[0].workgroups(), 1), "{narrow}");
    for rows in [5_000_000, 10_000_000, 33_000_000] {
        let wide = plan(layer(rows, 64).as_ref(), &gpu);
        let pass = &wide.passes()[0];
        let (width, height) = grid(pass);
        assert!(pass.workgroups() > 65_535, "{wide}");
        assert!(height > 1 && width <= 65_535, "{width} x {height}: {wide}");
        assert!(width * height - pass.workgroups() < height, "{width} x {height}: {wide}");
    }
}

/// Small limits, so that grids of few workgroups are two-dimensional as well.
#[test]
fn grids_of_any_limit() {
    for max_workgroups in [1, 2, 3, 7, 100, 65_535, u32::MAX] {
        let capabilities = changed(|c| c.max_workgroups = max_workgroups);
        for rows in 1..200 {
            let norm = layer(rows, 8192);
            match try_plan(norm.as_ref(), &capabilities) {
                Ok(_) => check(norm.as_ref(), &capabilities),
                Err(SpecError::Limit { needs, has, limit, .. }) => {
                    assert!(needs > has && limit.contains("max_compute_workgroups_per_dimension"), "{limit}");
                    assert_eq!(has, u64::from(max_workgroups).pow(2));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn planning_twice_is_planning_once() {
    for norm in realistic() {
        for capabilities in devices() {
            let (one, other) = (plan(norm.as_ref(), &capabilities), plan(norm.as_ref(), &capabilities));
            assert_eq!(one.to_string(), other.to_string());
            assert_eq!(one.passes(), other.passes());
        }
    }
}

/// What the numbers of the README rest on: which layers are read once.
#[test]
fn what_is_fused_and_what_is_staged() {
    let fused = ["fused_rows"];
    let rows = ["stats_rows", "merge", "apply_rows"];
    let columns = ["stats_columns", "merge", "apply_columns"];
    for capabilities in devices() {
        let names = |norm: &dyn Norm| names(&plan(norm, &capabilities));
        for width in [1, 3, 768, 4096, 12_288] {
            assert_eq!(names(layer(512, width).as_ref()), fused, "{width} {capabilities:?}");
        }
        // No workgroup holds these, and one would be too slow.
        assert_eq!(names(layer(1, 3_000_000).as_ref()), rows, "{capabilities:?}");
        assert_eq!(names(layer(3, 1_000_003).as_ref()), rows, "{capabilities:?}");
        // 10 channels of 32 by 32 are one run.
        assert_eq!(names(&GroupNorm::channels_first(&[8, 80, 32, 32], 8).unwrap()), fused, "{capabilities:?}");
        assert_eq!(names(&GroupNorm::channels_last(&[8, 32, 32, 80], 8).unwrap()), columns, "{capabilities:?}");
        assert_eq!(names(&InstanceNorm::channels_first(&[8, 64, 64, 64]).unwrap()), fused, "{capabilities:?}");
        assert_eq!(names(&InstanceNorm::channels_last(&[8, 64, 64, 64]).unwrap()), columns, "{capabilities:?}");
        let untracked = |shape, axis| BatchNorm::new(shape, axis).unwrap().without_tracking();
        assert_eq!(names(&untracked(&[32, 64, 112, 112], 1)), rows, "{capabilities:?}");
        assert_eq!(names(&untracked(&[32, 112, 112, 64], 3)), columns, "{capabilities:?}");
        assert_eq!(names(&untracked(&[4096, 512], 1)), columns, "{capabilities:?}");
    }
}

/// One row of three million is work for more than one workgroup, and neither is a batch of one channel.
#[test]
fn a_single_group_is_shared() {
    for capabilities in devices().iter().filter(|capabilities| !capabilities.software) {
        for norm in [
            layer(1, 3_000_000),
            Box::new(BatchNorm::channels_first(&[3000, 1, 1000]).unwrap()) as Box<dyn Norm>,
            Box::new(BatchNorm::channels_last(&[1_000_000, 3]).unwrap()),
        ] {
            let plan = plan(norm.as_ref(), capabilities);
            for pass in plan.passes().iter().filter(|pass| !["merge", "count_batch"].contains(&pass.name())) {
                assert!(pass.workgroups() >= 100, "{plan}\n{capabilities:?}");
            }
        }
    }
}

/// Short rows share a workgroup: a workgroup each would be mostly idle.
#[test]
fn short_rows_share_a_workgroup() {
    for capabilities in devices() {
        let plan = plan(layer(100_000, 16).as_ref(), &capabilities);
        assert!(plan.passes()[0].workgroups() * 32 <= 100_000, "{plan}\n{capabilities:?}");
    }
}

#[test]
fn display_names_what_was_planned() {
    let text = plan(layer(1, 3_000_000).as_ref(), &device()).to_string();
    assert!(text.starts_with("LayerNorm [1, 3000000] as block [1, 1, 1, 3000000]: groups are too large"), "{text}");
    assert!(text.contains("x is read twice\n  stats_rows: "), "{text}");
    let text = plan(&BatchNorm::channels_last(&[4096, 512]).unwrap(), &device()).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("BatchNorm [4096, 512] as block [1, 4096, 512, 1]: groups are short runs"), "{text}");
    assert!(lines[1].contains("across and") && lines[1].ends_with("4-wide"), "{text}");
    assert!(lines[2].contains("by workgroup"), "{text}");
    assert_eq!(lines[3], "  count_batch: 1 x 1 invocations, where num_batches_tracked is given");
    let text = plan(layer(0, 5).as_ref(), &device()).to_string();
    assert_eq!(text, "LayerNorm [0, 5] as block [0, 1, 1, 5]: empty, nothing to do");
    let odd = plan(layer(5, 33).as_ref(), &device()).to_string();
    assert!(odd.ends_with("1-wide"), "{odd}");
}
