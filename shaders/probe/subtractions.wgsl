// What the last pass of every norm does to an element, in a loop as there: centre, factor and bias are the same for all
// elements, so a compiler that moves parentheses has a reason to.
//# use shared/statistics
@group(0) @binding(1) var<storage, read> given: array<Pack>;
@group(0) @binding(2) var<storage, read_write> found: array<Pack>;

@compute @workgroup_size(1)
fn main() {
    let center = Center(pack_first(given[0]), pack_first(given[1]));
    let factor = pack_first(given[2]);
    let bias = given[3];
    // Times a scale of 1, which the compiler cannot know.
    let scale = 1.0 + f32(params.zero);
    for (var i = 4u; i < arrayLength(&given); i++) {
        found[i] = centered(given[i] * scale, center) * factor + bias;
    }
}
