// Pairs of f16 by the built-in: numbers as they are, and products, which a compiler may round only once.
//# use shared/params
@group(0) @binding(1) var<storage, read> given: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> found: array<vec2<u32>>;

@compute @workgroup_size(1)
fn main() {
    for (var i = params.zero; i < arrayLength(&given); i++) {
        let pair = given[i];
        found[i] = vec2<u32>(pack2x16float(pair), pack2x16float(pair * pair.yx));
    }
}
