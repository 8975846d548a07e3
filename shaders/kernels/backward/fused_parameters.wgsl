// As fused_rows.wgsl, and the gradients of weight and bias besides: a team of lanes takes one row after the other, each
// lane adding up what its elements of all of them give. x and dy are read and dx is written once, and each team leaves one
// row of sums. They run in chains of 16 rows, and then of chains.
//# use shared/team, shared/store_gradients, <gradients>, <statistics>, <hold>
// Whether lanes that hold dy keep it as it is, and not times the weight.
const KEEPS_DY: bool = true;

var<private> run_biases: array<Pack, ITEMS>;
var<private> run_weights: array<Pack, ITEMS>;
var<private> sum_biases: array<Pack, ITEMS>;
var<private> sum_weights: array<Pack, ITEMS>;

@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let team = tile_index(invocation);
    let teams = params.teams;
    let length = params.s_count;
    for (var i = 0u; i < ITEMS; i++) {
        run_biases[i] = Pack(0.0);
        run_weights[i] = Pack(0.0);
        sum_biases[i] = Pack(0.0);
        sum_weights[i] = Pack(0.0);
    }
    // As many rounds for every team: barriers and shuffles need them all.
    for (var round = 0u; round < params.rounds; round++) {
        let index = round * teams + team;
        let live = index < params.tiles && team < teams;
        let group = min(index, params.tiles - 1u);
        let base = group * length;
        let found = tile_gradients(base, length, group, 0u);
        let center = center_of(found.statistics);
        store_gradients(base, 0u, length, found.statistics, group_slope(found), live);
        let end = (round & 15u) == 15u || round + 1u == params.rounds;
        for (var i = 0u; i < ITEMS; i++) {
            if live && (whole || item_at(i) < length) {
                run_biases[i] += held_g[i];
                run_weights[i] += held_g[i] * (centered(held[i], center) * found.statistics.factor);
            }
            if end {
                sum_biases[i] += run_biases[i];
                sum_weights[i] += run_weights[i];
                run_biases[i] = Pack(0.0);
                run_weights[i] = Pack(0.0);
            }
        }
    }
    if team < teams {
        for (var i = 0u; i < ITEMS; i++) {
            let at = item_at(i);
            if whole || at < length {
                for (var j = 0u; j < WIDTH; j++) {
                    let sums = vec2<f32>(pack_get(sum_biases[i], j), pack_get(sum_weights[i], j));
                    partial_sums_store(team * length + at + j, sums);
                }
            }
        }
    }
}
