// Everything a pass is told at run time. Values are those of src/gpu/bind/params.rs.
struct Params {
    // The block, and how an element finds its weight and bias (src/block.rs).
    r_count: u32,
    k_count: u32,
    s_count: u32,
    b_mod: u32,
    b_mul: u32,
    r_mul: u32,
    k_mul: u32,
    s_div: u32,
    // The work of this dispatch: how many tiles, the number of the first, and how the workgroups are laid on the grid.
    tiles: u32,
    first_tile: u32,
    grid_width: u32,
    tile_length: u32,
    // Rows: tiles of one run of S.
    tiles_per_run: u32,
    // Columns: lanes across, lanes down, blocks of columns, lanes down the rows of one b over all workgroups.
    column_lanes: u32,
    row_lanes: u32,
    column_blocks: u32,
    row_tiles: u32,
    // Merge: where the partials of a group lie.
    partials: u32,
    inner_count: u32,
    inner_stride: u32,
    b_stride: u32,
    k_stride: u32,
    outer_stride: u32,
    // What one lane reads of a tile when it does not hold it in registers.
    items: u32,
    // Always zero, which no compiler can know: see `opaque`.
    zero: u32,
    eps: f32,
    weight_offset: f32,
    // Running statistics: new = keep * old + take * batch, or the cumulative average.
    keep: f32,
    take: f32,
    cumulative: u32,
    unbiased: u32,
    // Where each tensor starts relative to its binding, in elements: modulo 2^32, since a window of a large tensor is
    // bound, and indices are those of the whole.
    x_start: u32,
    y_start: u32,
    weight_start: u32,
    bias_start: u32,
    mean_start: u32,
    rstd_start: u32,
    running_mean_start: u32,
    running_var_start: u32,
    batches_start: u32,
    // Columns: rows of one b and columns of a row, both folded.
    rows: u32,
    pitch: u32,
    residual_start: u32,
    residual_out_start: u32,
    stats_start: u32,
    grad_output_start: u32,
    grad_input_start: u32,
    grad_weight_start: u32,
    grad_bias_start: u32,
    grad_residual_start: u32,
    moments_start: u32,
    sums_start: u32,
    // Whose statistics an element goes by, where that is not the group: see shared/channel.wgsl.
    group_b_div: u32,
    group_b: u32,
    group_rows: u32,
    group_r: u32,
    group_k: u32,
    group_s: u32,
    // Not 0 where gradients of parameters are added to what is there.
    accumulate: u32,
    // The first partial in scratch, negated.
    partials_start: u32,
    // A mean square below this is taken again at a larger scale: see `better_scale`. 0 where eps makes up for it.
    least_square: f32,
    // Rows for sums of parameters: teams of lanes, and rows that each takes one after the other.
    teams: u32,
    rounds: u32,
    // Of what is written of 16 bits: whether the first element is the upper half of its word, and whether a run of pieces further that changes, and a piece
    // further; elements of what is written that are neighbours.
    odd: u32,
    odd_outer: u32,
    odd_inner: u32,
    own_piece: u32,
    // Segments of heads: see shared/segments.wgsl. `eps` is that of the first; `head_length` elements of weight each.
    eps_1: f32,
    eps_2: f32,
    eps_3: f32,
    segment_1: u32,
    segment_2: u32,
    segment_3: u32,
    heads: u32,
    head_length: u32,
    // Tensors with strides: see shared/strides.wgsl.
    piece: u32,
    pieces: u32,
    x_outer: u32,
    x_inner: u32,
    y_outer: u32,
    y_inner: u32,
    residual_outer: u32,
    residual_inner: u32,
    residual_out_outer: u32,
    residual_out_inner: u32,
    grad_output_outer: u32,
    grad_output_inner: u32,
    grad_input_outer: u32,
    grad_input_inner: u32,
    grad_residual_outer: u32,
    grad_residual_inner: u32,
    skip_outer: u32,
    skip_inner: u32,
    grad_skip_outer: u32,
    grad_skip_inner: u32,
    branch_outer: u32,
    branch_inner: u32,
    grad_branch_outer: u32,
    grad_branch_inner: u32,
    // Scale, shift, gate, embedding and skip: see shared/modulation.wgsl.
    scale_start: u32,
    shift_start: u32,
    skip_start: u32,
    grad_scale_start: u32,
    grad_shift_start: u32,
    grad_skip_start: u32,
    gate_start: u32,
    embedding_start: u32,
    branch_start: u32,
    grad_gate_start: u32,
    grad_embedding_start: u32,
    grad_branch_start: u32,
    scale_offset: f32,
    modulation_run: u32,
    modulation_inner: u32,
    modulation_line: u32,
    modulation_gap: u32,
    // Elements of a sample, and its numbers of scale: see slots/modulation/folded.wgsl.
    sample_elements: u32,
    sample_numbers: u32,
    // To a multiple of 16 bytes, as OpenGL wants it.
    unused: u32,
    unused_too: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

override workgroup_size: u32 = 256u;
// Lanes that share one group or tile: a power of two, at most workgroup_size.
override lanes: u32 = 256u;
// Neighbouring lanes that surely share a subgroup: a power of two. No barrier is compiled in where `lanes` are no more.
override smallest_subgroup: u32 = 1u;
// RMS, L1 and L2 leave the mean where it is.
override subtract_mean: bool = true;
// What the elements are divided by: see shared/factor.wgsl.
override scaling: u32 = 0u;
const DEVIATION_PLUS_EPS: u32 = 1u;
const L2: u32 = 2u;
const L1: u32 = 3u;
// True where the compiler may reassociate (x - shift) - delta: see `opaque_pack`.
override hide_subtractions: bool = false;
// Whether heads differ in eps, and share their weights by segment: see shared/segments.wgsl.
override segmented: bool = false;
// How kernels find where the elements of tensors with strides lie: see shared/strides.wgsl.
override placed_by: u32 = 0u;
// Whether 16-bit elements are bf16, and not f16.
override bfloat: bool = false;
// Whether pack2x16float rounds f16 as `halves_of_pair` does.
override exact_pack: bool = false;
// Whether normalized values are rounded to that type before they are multiplied by their weight.
override round_before_weight: bool = false;
// Rows: whether what is stored are single elements of 16 bits, so that lanes share out words, and dispatches take every other run.
override by_words: bool = false;
// Rows: neighbouring packs of a tile that fall to one lane.
override span: u32 = 1u;
// True where every lane has all of its packs, so that none need be counted.
override whole: bool = false;
// True where all groups have the same weights.
override same_parameters: bool = false;
// Backward: false where the statistics do not come from x, so that no gradient goes through them.
override through_statistics: bool = true;
// Merges: false where the partials of a group all lie apart, so that inner_count is 1.
override neighbours: bool = true;
// What follows the norm: see shared/epilogue.wgsl.
override activation: u32 = 0u;
// Whether a skip is added.
override adds_skip: bool = false;
// How scale and shift are found, and whether those of a pack are one number: see shared/modulation.wgsl.
override modulated_by: u32 = 0u;
override modulation_constant: bool = false;
// Sums of gradients: what they are for. Those of groups are weighted.
override summed: u32 = 0u;
const BY_GROUP: u32 = 0u;
const BY_WEIGHT: u32 = 1u;
const BY_MODULATION: u32 = 2u;
const BY_BRANCH: u32 = 3u;
// By columns: whether statistics, and weight and bias, go by column, by row, or by element.
override statistics_by: u32 = 0u;
override weights_by: u32 = 0u;
const BY_COLUMN: u32 = 0u;
const BY_ROW: u32 = 1u;
// Sums over runs side by side: how many at a time.
override beside: u32 = 1u;
