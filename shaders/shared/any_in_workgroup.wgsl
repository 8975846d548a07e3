// Whether it holds for any lane of the workgroup; all lanes of a tile say the same. In uniform control flow only, and what
// comes of it is uniform.
//# use shared/params, <reduction>
fn any_in_workgroup(yes: bool) -> bool {
    exchanged[lane].x = u32(yes);
    workgroupBarrier();
    if lane == 0u {
        var any = 0u;
        for (var tile = 0u; tile < workgroup_size; tile += lanes) {
            any |= exchanged[tile].x;
        }
        exchanged[0].x = any;
    }
    return workgroupUniformLoad(&exchanged[0]).x != 0u;
}
