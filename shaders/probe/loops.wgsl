// Two loops one after the other. Alone in its shader: what a driver that stops one does to loops after it is not for
// other probes to suffer.
//# use shared/statistics
@group(0) @binding(1) var<storage, read> given: array<f32>;
@group(0) @binding(2) var<storage, read_write> found: array<f32>;

// How often a loop runs that is asked to run `steps` times. The compiler cannot know it without running it.
fn count_iterations(steps: u32) -> u32 {
    var state = 1u;
    var count = 0u;
    for (var i = 0u; i < steps; i++) {
        state = state * 1664525u + 1013904223u;
        count += 1u + (state & params.zero);
    }
    return count;
}

@compute @workgroup_size(1)
fn main() {
    found[0] = f32(count_iterations(u32(given[0])));
    found[1] = f32(count_iterations(u32(given[1])));
}
