//! The examples assert what they claim: running one is testing it.

#[path = "../../examples/batch_norm_running_stats.rs"]
mod batch_norm_running_stats;
#[path = "../../examples/diffusion_block.rs"]
mod diffusion_block;
#[path = "../../examples/layer_norm.rs"]
mod layer_norm;
#[path = "../../examples/own_pass.rs"]
mod own_pass;
#[path = "../../examples/qk_norm.rs"]
mod qk_norm;
#[path = "../../examples/sync_batch_norm.rs"]
mod sync_batch_norm;

#[test]
fn batch_norm_running_stats() {
    batch_norm_running_stats::main().unwrap();
}

#[test]
fn diffusion_block() {
    diffusion_block::main().unwrap();
}

#[test]
fn layer_norm() {
    layer_norm::main().unwrap();
}

#[test]
fn own_pass() {
    own_pass::main().unwrap();
}

#[test]
fn qk_norm() {
    qk_norm::main().unwrap();
}

#[test]
fn sync_batch_norm() {
    sync_batch_norm::main().unwrap();
}
