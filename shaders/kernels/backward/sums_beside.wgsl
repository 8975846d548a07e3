// The sums of dy and of dy * xhat, or for scale and shift of their own gradients, over the tiles of runs that lie side by side, where the statistics are known and change along a run: those
// of a pack are taken once for all of the runs. Sums run in chains of 16 packs, chains of 16 chains, and so once more.
//# use shared/rows, shared/pack_groups, shared/channel, shared/sum_lanes, <source>, <statistics>, shared/epilogue
// As in src/gpu/plan/rows.rs.
const MOST: u32 = 8u;

@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let index = tile_index(invocation);
    let number = params.first_tile + min(index, params.tiles - 1u);
    let part = number % params.tiles_per_run;
    let bundles = (params.k_count + beside - 1u) / beside;
    let bundle = number / params.tiles_per_run;
    let row = bundle / bundles;
    let first = bundle % bundles * beside;
    let s = part * params.tile_length;
    let length = min(params.tile_length, params.s_count - s);
    // Past the last run it is taken again, and not stored.
    let last = min(beside, params.k_count - first) - 1u;
    let base = (row * params.k_count + first) * params.s_count + s;
    var sum: array<vec2<f32>, MOST>;
    var chain: array<vec2<f32>, MOST>;
    var run1: array<Pack, MOST>;
    var run2: array<Pack, MOST>;
    for (var j = 0u; j < beside; j++) {
        sum[j] = vec2<f32>(0.0);
        chain[j] = vec2<f32>(0.0);
        run1[j] = Pack(0.0);
        run2[j] = Pack(0.0);
    }
    for (var i = 0u; i < params.items; i++) {
        let at = item_at(i);
        if whole || at < length {
            var numbers: array<u32, WIDTH>;
            for (var j = 0u; j < WIDTH; j++) {
                numbers[j] = group_at(0u, row, first, s + at + j);
            }
            let groups = of_groups(numbers, 0u);
            for (var j = 0u; j < beside; j++) {
                let place = base + min(j, last) * params.s_count + at;
                let e = centered_at(source_load(place), groups);
                var y = e;
                if needs_y() {
                    let channel = channel_base(0u, row, first + min(j, last));
                    y = e * (groups.factor * weight_load(channel)) + bias_load(channel);
                }
                var g = above_skip(grad_output_load(place), y, place);
                var by = y;
                if summed != BY_MODULATION {
                    g *= modulation_factor(place);
                    by = e * groups.factor;
                }
                run1[j] += g;
                run2[j] += g * by;
            }
        }
        if (i & 15u) == 15u || i + 1u == params.items {
            for (var j = 0u; j < beside; j++) {
                chain[j] += vec2<f32>(pack_sum(run1[j]), pack_sum(run2[j]));
                run1[j] = Pack(0.0);
                run2[j] = Pack(0.0);
            }
        }
        if (i & 255u) == 255u || i + 1u == params.items {
            for (var j = 0u; j < beside; j++) {
                sum[j] += chain[j];
                chain[j] = vec2<f32>(0.0);
            }
        }
    }
    for (var j = 0u; j < beside; j++) {
        let total = sum_lanes(sum[j]);
        if index < params.tiles && lane_in_tile() == 0u && j <= last {
            partial_sums_store((row * params.k_count + first + j) * params.tiles_per_run + part, total);
        }
    }
}
