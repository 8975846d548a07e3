// The rest of the two networks; and what follows their norms, for comparison. One invocation for each element of the result.

@group(0) @binding(0) var<storage, read_write> result: array<f32>;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> skip: array<f32>;
// A row for each sample, in chunks of one number for each channel.
@group(0) @binding(4) var<storage, read> projection: array<f32>;
override first_chunk = 0u;

// 3 x 3, with zeros around the image.
fn convolved(i: i32) -> f32 {
    let row = i / COLUMNS % ROWS;
    let column = i % COLUMNS;
    let to = i / (ROWS * COLUMNS) % CHANNELS;
    let image = i / (ROWS * COLUMNS) - to;
    var sum = 0.0;
    for (var c = 0; c < CHANNELS; c++) {
        for (var at = 0; at < 9; at++) {
            let y = row + at / 3 - 1;
            let x = column + at % 3 - 1;
            if 0 <= y && y < ROWS && 0 <= x && x < COLUMNS {
                sum += weight[(to * CHANNELS + c) * 9 + at] * input[((image + c) * ROWS + y) * COLUMNS + x];
            }
        }
    }
    return sum;
}

@compute @workgroup_size(64)
fn convolve(@builtin(global_invocation_id) id: vec3u) {
    result[id.x] = convolved(i32(id.x));
}

@compute @workgroup_size(64)
fn convolve_and_add(@builtin(global_invocation_id) id: vec3u) {
    result[id.x] = skip[id.x] + convolved(i32(id.x));
}

fn silu_of(v: f32) -> f32 {
    return v / (1.0 + exp(-v));
}

// Of element `i` of an image, `[samples, channels, rows, columns]`.
fn of_time(chunk: u32, i: u32) -> f32 {
    let plane = i / (ROWS * COLUMNS);
    return projection[(plane / CHANNELS * 2 + chunk) * CHANNELS + plane % CHANNELS];
}

@compute @workgroup_size(64)
fn silu(@builtin(global_invocation_id) id: vec3u) {
    result[id.x] = silu_of(result[id.x]);
}

@compute @workgroup_size(64)
fn modulate_and_silu(@builtin(global_invocation_id) id: vec3u) {
    result[id.x] = silu_of(result[id.x] * (1.0 + of_time(0u, id.x)) + of_time(1u, id.x));
}

// Of element `i` of `[samples, tokens, width]`.
fn of_token(chunk: u32, i: u32) -> f32 {
    return projection[(i / (TOKENS * WIDTH) * 6 + first_chunk + chunk) * WIDTH + i % WIDTH];
}

@compute @workgroup_size(64)
fn modulate(@builtin(global_invocation_id) id: vec3u) {
    result[id.x] = result[id.x] * (1.0 + of_token(1u, id.x)) + of_token(0u, id.x);
}

@compute @workgroup_size(64)
fn gate_and_add(@builtin(global_invocation_id) id: vec3u) {
    result[id.x] = skip[id.x] + of_token(2u, id.x) * input[id.x];
}
