//! Starts ranks by `mpirun`, and holds what they print: `tests/rank/main.rs` is what they do.
//!
//! `MPIRUN` names another `mpirun`, such as MPICH's. It may hang or crash itself where several ranks fail at once, so its status
//! is held to nothing but that it is not 0.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

/// So many ranks of a program, killed after `seconds`.
fn ranks(program: &Path, count: usize, seconds: u32, words: &[&str]) -> Output {
    // The ranks of one test are more than most machines have cores.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mpirun = std::env::var("MPIRUN").unwrap_or_else(|_| "mpirun".to_owned());
    Command::new("timeout")
        .args(["-k", "5", &seconds.to_string(), &mpirun, "-n", &count.to_string()])
        .arg(program)
        .args(words)
        // The last three: one machine needs no network, and containers forbid some ways to share memory. MPICH ignores all.
        .envs([
            ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
            ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
            ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
            ("OMPI_MCA_hwloc_base_binding_policy", "none"),
            ("OMPI_MCA_pml", "ob1"),
            ("OMPI_MCA_btl", "self,vader"),
            ("OMPI_MCA_btl_vader_single_copy_mechanism", "none"),
            ("DEADLINE_MS", if words.len() > 1 { "60000" } else { "1500" }),
        ])
        .stdin(Stdio::null())
        .output()
        .expect("timeout and mpirun must be installed: apt-get install libopenmpi-dev openmpi-bin libclang-dev")
}

fn rank() -> PathBuf {
    env!("CARGO_BIN_EXE_rank").into()
}

/// An example, which `cargo test` builds beside the tests.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("this is a file");
    let built = tests.parent().and_then(Path::parent).expect("it is in a folder of the target folder");
    built.join("examples").join(name)
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// All ranks find all well.
fn well(count: usize, words: &[&str]) {
    let output = ranks(&rank(), count, 100, words);
    let (out, err) = texts(&output);
    println!("{out}");
    let well = out.lines().filter(|line| line.ends_with("all is well")).count();
    assert!(well == count && output.status.success(), "{words:?} on {count}: {}\n{out}\n{err}", output.status);
}

/// The job ends before its time with an error, which has these words.
fn failed(count: usize, how: &str, must: &[&str]) {
    let output = ranks(&rank(), count, 30, &[how]);
    let (out, err) = texts(&output);
    // 124 is that of `timeout`, and 137 as well, unless `mpirun` lived to tell of a rank that was killed.
    let ended = match output.status.code() {
        Some(0 | 124) | None => false,
        Some(137) => err.to_lowercase().contains("killed"),
        Some(_) => true,
    };
    assert!(ended, "{how} on {count}: {}\n{out}\n{err}", output.status);
    for words in must {
        assert!(err.contains(words), "{how} on {count}: {words:?} is missing in:\n{err}");
    }
}

#[test]
fn one_rank_alone_needs_no_mpi() {
    let output = Command::new(rank()).args(["alone", "137"]).output().expect("it was built");
    let (out, err) = texts(&output);
    assert!(output.status.success() && out.contains("all is well"), "{out}\n{err}");
    assert!(out.contains("; 0 messages, 0 bytes, 0.0 us"), "{out}");
}

#[test]
fn one_rank() {
    well(1, &["check", "137"]);
}

#[test]
fn two_ranks() {
    well(2, &["check", "100,37"]);
}

#[test]
fn two_ranks_of_which_one_has_nothing() {
    well(2, &["check", "137,0"]);
}

#[test]
fn four_ranks() {
    well(4, &["check", "60,0,70,7"]);
}

#[test]
fn four_ranks_of_which_one_has_all() {
    well(4, &["check", "0,0,0,33"]);
}

#[test]
fn groups_of_ranks() {
    well(4, &["groups", "60,7,0,33"]);
}

#[test]
fn the_readme_has_the_ten_lines() {
    let (example_text, readme) = (include_str!("../examples/ten_lines.rs"), include_str!("../README.md"));
    let (_, program) = example_text.split_once("\n\n").expect("words, and then the program");
    assert!(readme.contains(program), "{program}");
    let output = ranks(&example("ten_lines"), 2, 30, &[]);
    let (out, err) = texts(&output);
    assert!(out.contains("rank 0: y [-0.9999") && out.contains("rank 1: y [0.9999"), "{out}\n{err}");
}

/// Four ranks learn from parts of batches what one learns from the whole, and say what that took.
#[test]
fn digits_are_learned_as_by_one() {
    let recognized = [1, 4].map(|count| {
        let output = ranks(&example("digits"), count, 100, &["30"]);
        let (out, err) = texts(&output);
        assert!(output.status.success(), "{out}\n{err}");
        println!("{out}");
        let spends = format!("a step spends in MPI: batch norm {} messages", if count == 1 { 0 } else { 28 });
        assert!(out.contains(&spends), "{out}");
        let line = out.lines().find_map(|line| line.split_once(" % of 360 images held out recognized"));
        line.and_then(|(percent, _)| percent.parse::<f64>().ok()).unwrap_or_else(|| panic!("{out}"))
    });
    let [one, four] = recognized;
    // Three images of 360.
    assert!(one > 98.0 && (one - four).abs() < 0.9, "{one} {four}");
}

#[test]
fn a_rank_that_hangs_is_an_error_on_the_others() {
    for count in [2, 4] {
        failed(count, "hang", &["a forward pass: not all ranks came within 1.5s"]);
    }
}

#[test]
fn a_rank_that_returns_early_is_an_error_on_the_others() {
    failed(2, "return", &["rank 0 of 2: a forward pass: not all ranks came within 1.5s"]);
}

/// By `mpirun`, at once.
#[test]
fn a_rank_that_is_killed_ends_the_job() {
    failed(4, "kill", &[]);
    failed(2, "exit", &[]);
}

#[test]
fn a_rank_that_fails_ends_the_job() {
    failed(4, "error", &["error: rank 3 of 4: this rank cannot read its file"]);
    failed(2, "panic", &["this rank panics", "error: rank 1 of 2 panicked"]);
}

#[test]
fn ranks_out_of_step_are_refused() {
    let channels = "a forward pass with 768 bytes, but rank 1 is at a forward pass with 384";
    let order = "a forward pass with 768 bytes, but rank 3 is at a sum with 1536";
    failed(2, "channels", &[channels, "with as many channels"]);
    failed(4, "order", &[order]);
}
