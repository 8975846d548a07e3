//! The examples assert what they claim: running one is testing it.

use std::process::Command;

#[path = "../../examples/batch_norm_running_stats.rs"]
mod batch_norm_running_stats;
#[path = "../../examples/layer_norm.rs"]
mod layer_norm;
#[path = "../../examples/own_pass.rs"]
mod own_pass;

#[test]
fn batch_norm_running_stats() {
    batch_norm_running_stats::main().unwrap();
}

#[test]
fn layer_norm() {
    layer_norm::main().unwrap();
}

#[test]
fn own_pass() {
    own_pass::main().unwrap();
}

/// As a program of its own, since it has files, arguments and an exit status. `cargo test` has built it already.
#[test]
fn demo() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--profile", "test", "--features", "cli", "--example", "demo", "--", "--output"])
        .arg(folder.path())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    for norm in ["LayerNorm", "RmsNorm", "GroupNorm", "InstanceNorm", "BatchNorm train", "BatchNorm eval"] {
        assert!(stdout.contains(norm), "{norm}: {stdout}");
    }
    assert!(folder.path().join("before_after.png").exists());
}
