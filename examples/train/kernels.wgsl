// What a small network needs beside its norms, plainly: a thread for each result.

struct Params {
    // Of the result; `k` is summed over.
    rows: u32,
    columns: u32,
    k: u32,
    // From one element to the next, in both factors of a product.
    a_row: u32,
    a_k: u32,
    b_k: u32,
    b_column: u32,
    momentum: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
@group(0) @binding(4) var<storage, read_write> d: array<f32>;

fn product(row: u32, column: u32) -> f32 {
    var sum = 0.0;
    for (var k = 0u; k < p.k; k++) {
        sum += a[row * p.a_row + k * p.a_k] * b[k * p.b_k + column * p.b_column];
    }
    return sum;
}

// c = a * b
@compute @workgroup_size(8, 8)
fn multiply(@builtin(global_invocation_id) id: vec3u) {
    if id.y < p.rows && id.x < p.columns {
        c[id.y * p.columns + id.x] = product(id.y, id.x);
    }
}

// c = a * b + d
@compute @workgroup_size(8, 8)
fn linear(@builtin(global_invocation_id) id: vec3u) {
    if id.y < p.rows && id.x < p.columns {
        c[id.y * p.columns + id.x] = product(id.y, id.x) + d[id.x];
    }
}

// b = the sums of the columns of a
@compute @workgroup_size(64)
fn column_sums(@builtin(global_invocation_id) id: vec3u) {
    if id.x < p.columns {
        var sum = 0.0;
        for (var row = 0u; row < p.rows; row++) {
            sum += a[row * p.columns + id.x];
        }
        b[id.x] = sum;
    }
}

@compute @workgroup_size(64)
fn relu(@builtin(global_invocation_id) id: vec3u) {
    if id.x < p.rows * p.columns {
        a[id.x] = max(a[id.x], 0.0);
    }
}

// a, the gradient of b = relu(..), becomes that of its input
@compute @workgroup_size(64)
fn relu_gradient(@builtin(global_invocation_id) id: vec3u) {
    if id.x < p.rows * p.columns && b[id.x] <= 0.0 {
        a[id.x] = 0.0;
    }
}

// Of the logits a and the labels b: c, the gradient of the mean loss, and d, the loss of each row
@compute @workgroup_size(64)
fn cross_entropy(@builtin(global_invocation_id) id: vec3u) {
    if id.x >= p.rows {
        return;
    }
    let start = id.x * p.columns;
    let label = u32(b[id.x]);
    var most = a[start];
    for (var i = 1u; i < p.columns; i++) {
        most = max(most, a[start + i]);
    }
    var sum = 0.0;
    for (var i = 0u; i < p.columns; i++) {
        sum += exp(a[start + i] - most);
    }
    for (var i = 0u; i < p.columns; i++) {
        let probability = exp(a[start + i] - most) / sum;
        c[start + i] = (probability - select(0.0, 1.0, i == label)) / f32(p.rows);
    }
    d[id.x] = log(sum) + most - a[start + label];
}

// a follows its gradient b with the velocity c, as fast as d says
@compute @workgroup_size(64)
fn descend(@builtin(global_invocation_id) id: vec3u) {
    if id.x < p.rows {
        c[id.x] = p.momentum * c[id.x] + b[id.x];
        a[id.x] -= d[0] * c[id.x];
    }
}
