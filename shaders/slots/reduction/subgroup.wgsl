// Lanes exchange values by subgroup shuffles, and through workgroup memory only beyond a subgroup.
// A shuffle moves values and adds nothing, so the bits are those of the workgroup backend.
//# use shared/any_in_workgroup
struct Invocation {
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_size) subgroup_size: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
}

var<private> lane: u32;
var<private> subgroup_width: u32;
var<workgroup> exchanged: array<vec2<u32>, workgroup_size>;

// Numbering lanes by subgroup makes every aligned run of subgroup_size lanes one subgroup, whatever
// size the driver picked for this pipeline.
fn enter(invocation: Invocation) {
    subgroup_width = invocation.subgroup_size;
    lane = invocation.subgroup * subgroup_width + invocation.subgroup_lane;
}

// The value of the lane whose number differs in the one bit `distance`.
fn exchange(v: vec2<u32>, distance: u32) -> vec2<u32> {
    // Where it is known beforehand, one way alone is compiled in.
    if lanes <= smallest_subgroup || distance < smallest_subgroup || distance < subgroup_width {
        return subgroupShuffleXor(v, distance);
    }
    exchanged[lane] = v;
    workgroupBarrier();
    let other = exchanged[lane ^ distance];
    workgroupBarrier();
    return other;
}

// Whether it holds for any lane of the workgroup, or of the subgroup where tiles are no larger.
fn any_lane(yes: bool) -> bool {
    if lanes <= smallest_subgroup {
        return subgroupAny(yes);
    }
    return any_in_workgroup(yes);
}
