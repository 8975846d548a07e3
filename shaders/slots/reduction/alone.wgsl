// Every lane works alone: nothing is exchanged and no barrier is compiled in.
struct Invocation {
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
}

var<private> lane: u32;

fn enter(invocation: Invocation) {
    lane = invocation.index;
}

fn exchange(v: vec2<u32>, distance: u32) -> vec2<u32> {
    return v;
}

// Whether it holds for any lane that this one works with.
fn any_lane(yes: bool) -> bool {
    return yes;
}
