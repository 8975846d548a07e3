// One partial for each column of a row tile. Rows go by CHUNK: two passes over values held in registers,
// then one merge, so that a lane's chain of merges stays short.
const CHUNK: u32 = 8u;

@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    let pitch = params.k_count * params.s_count;
    let base = columns.b * params.r_count * pitch + columns.column;
    let stride = params.row_lanes;
    var merged = Partial(0u, Value(0.0), Value(0.0), Value(0.0));
    for (var row = columns.row; row < columns.row_end; row += CHUNK * stride) {
        var held: array<Pack, CHUNK>;
        let first = x_load(base + row * pitch);
        let count = min(CHUNK, (columns.row_end - row + stride - 1u) / stride);
        let shift = finite_or_zero(first);
        held[0] = first;
        var sum = opaque_pack(first - shift);
        for (var i = 1u; i < CHUNK; i++) {
            if i < count {
                held[i] = x_load(base + (row + i * stride) * pitch);
                sum += opaque_pack(held[i] - shift);
            }
        }
        var center = Center(Value(0.0), Value(0.0));
        if subtract_mean {
            center = recenter(shift, sum / f32(count));
        }
        var sum1 = Value(0.0);
        var sum2 = Value(0.0);
        for (var i = 0u; i < CHUNK; i++) {
            if i < count {
                let e = centered(held[i], center);
                sum1 += e;
                sum2 += size_of(e);
            }
        }
        if subtract_mean {
            merged = merge(merged, partial_from_sums(count, center, sum1, sum2));
        } else {
            merged = merge(merged, Partial(count, Value(0.0), Value(0.0), sum2));
        }
    }
    let to = (columns.b * params.row_tiles + columns.row_tile) * pitch + columns.column;
    for (var j = 0u; j < WIDTH; j++) {
        partials_store(to + j, vec4<u32>(
            merged.count,
            bitcast<u32>(pack_get(merged.shift, j)),
            bitcast<u32>(pack_get(merged.delta, j)),
            bitcast<u32>(pack_get(merged.m2, j)),
        ));
    }
}
