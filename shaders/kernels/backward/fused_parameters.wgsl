// As fused_rows.wgsl, and the gradients of weight and bias besides: a team of lanes takes one row after the other, each
// lane adding up what its elements of all of them give. x and dy are read and dx is written once, and each team leaves one
// row of sums. They run in chains of 16 rows, and then of chains: each is added to what the ones before left, since
// registers do not last for both.
//# use shared/team, shared/store_gradients, <gradients>, <statistics>, <hold>
// Whether lanes that hold dy keep it as it is, and not times the weight.
const KEEPS_DY: bool = true;

var<private> run_biases: array<Pack, ITEMS>;
var<private> run_weights: array<Pack, ITEMS>;

@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let team = tile_index(invocation);
    let teams = params.teams;
    let length = params.s_count;
    for (var i = 0u; i < ITEMS; i++) {
        run_biases[i] = Pack(0.0);
        run_weights[i] = Pack(0.0);
    }
    // As many rounds for every team: barriers and shuffles need them all.
    for (var round = 0u; round < params.rounds; round++) {
        let index = round * teams + team;
        let live = index < params.tiles && team < teams;
        let group = min(index, params.tiles - 1u);
        let base = group * length;
        locate(base);
        let found = tile_gradients(base, length, group, 0u);
        let center = center_of(found.statistics);
        store_gradients(base, 0u, length, found.statistics, group_slope(found), live);
        for (var i = 0u; i < ITEMS; i++) {
            if live && (whole || item_at(i) < length) {
                run_biases[i] += held_g[i];
                run_weights[i] += held_g[i] * (centered(held[i], center) * found.statistics.factor);
            }
        }
        if (round & 15u) == 15u || round + 1u == params.rounds {
            leave_sums(team, length, round < 16u);
        }
    }
}

// A chain ends: the first of a team, or one that is added to those before.
fn leave_sums(team: u32, length: u32, first: bool) {
    for (var i = 0u; i < ITEMS; i++) {
        let at = item_at(i);
        if team < params.teams && (whole || at < length) {
            for (var j = 0u; j < WIDTH; j++) {
                let to = team * length + at + j;
                var sums = vec2<f32>(pack_get(run_biases[i], j), pack_get(run_weights[i], j));
                if !first {
                    sums += partial_sums_load(to);
                }
                partial_sums_store(to, sums);
            }
        }
        run_biases[i] = Pack(0.0);
        run_weights[i] = Pack(0.0);
    }
}
