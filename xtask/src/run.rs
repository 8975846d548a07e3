//! The cargo commands that the tasks come down to.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Task {
    Demo,
    /// Thorough: with the long sweeps and many random draws.
    Test {
        thorough: bool,
    },
    Shaders,
    /// How long compilers take over the largest shaders.
    Times,
}

impl Task {
    /// Shaders are text until a GPU has them.
    pub fn wants_adapter(self) -> bool {
        self != Task::Shaders
    }

    /// What the task has to say where no adapter was had; an error if it cannot do without.
    pub fn without_adapter(self, why: String) -> Result<String, String> {
        match self {
            Task::Demo => Ok(format!("{why}\nWithout an adapter, the demo runs on the CPU engine alone.")),
            Task::Test { .. } | Task::Shaders | Task::Times => Err(why),
        }
    }

    /// cargo's arguments. All but what is timed use the tests' profile and
    /// features, so each command finds the others' build.
    fn cargo_args(self) -> &'static [&'static str] {
        match self {
            Task::Demo => &["run", "--profile", "test", "--features", "cli", "--example", "demo", "--"],
            Task::Shaders => &["run", "--profile", "test", "--features", "cli", "--example", "shaders", "--"],
            Task::Times => &["run", "--release", "--features", "cli", "--example", "shaders", "--", "--times"],
            Task::Test { .. } => &["test", "--workspace", "--features", "cli"],
        }
    }

    fn full_args(self, rest: &[OsString]) -> Vec<OsString> {
        let rest = match (self, rest.split_first()) {
            // The list above ends with one already.
            (Task::Demo, Some((first, after))) if first == "--" => after,
            _ => rest,
        };
        let own = self.cargo_args().iter().map(OsString::from);
        own.chain(rest.iter().cloned()).collect()
    }

    /// Runs it in the workspace's root; gives its exit status.
    pub fn run(self, rest: &[OsString], runtime: Option<&RuntimeDir>) -> Result<u8, String> {
        let args = self.full_args(rest);
        let shown: Vec<_> = args.iter().map(|a| a.to_string_lossy()).collect();
        eprintln!("running: cargo {}", shown.join(" ").trim_end_matches(" --"));
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(&args).current_dir(workspace_root());
        if let Some(dir) = runtime {
            cargo.env(RUNTIME_VARIABLE, &dir.0);
        }
        if self == Task::Times {
            // Or Mesa has compiled them before.
            cargo.env("MESA_SHADER_CACHE_DISABLE", "1");
        }
        if self == (Task::Test { thorough: true }) {
            cargo.env(THOROUGH_VARIABLE, "1");
        }
        let status = cargo.status().map_err(|e| format!("cargo could not be started ({e}). Is it on your PATH?"))?;
        Ok(exit_code(status))
    }
}

fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

fn exit_code(status: ExitStatus) -> u8 {
    // What a shell gives for a child that a signal ended.
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)
}

const RUNTIME_VARIABLE: &str = "XDG_RUNTIME_DIR";

/// What `tests/suite/support` reads.
const THOROUGH_VARIABLE: &str = "WGPU_NORM_THOROUGH";

/// A private folder, removed when this is dropped.
pub struct RuntimeDir(PathBuf);

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        // Left behind it does no harm: it is empty or nearly so.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A folder for `XDG_RUNTIME_DIR` where none is set: containers and CI have
/// none, and Vulkan's window-system code complains about that on every start.
/// Where it cannot be made, only the complaints come back.
pub fn runtime_dir() -> Option<RuntimeDir> {
    if !cfg!(target_os = "linux") || std::env::var_os(RUNTIME_VARIABLE).is_some() {
        return None;
    }
    let path = std::env::temp_dir().join(format!("wgpu-norm-xtask-{}", std::process::id()));
    make_private(&path).ok()?;
    Some(RuntimeDir(path))
}

/// Not recursive: a folder that someone else made there is refused.
fn make_private(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(path);
    #[cfg(not(unix))]
    std::fs::create_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: Task = Task::Test { thorough: false };

    fn line(task: Task, rest: &[&str]) -> String {
        let rest: Vec<OsString> = rest.iter().map(OsString::from).collect();
        let args = task.full_args(&rest);
        args.iter().map(|a| a.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn test_passes_its_arguments_to_cargo() {
        assert_eq!(line(TEST, &[]), "test --workspace --features cli");
        assert_eq!(line(TEST, &["--lib", "--", "--nocapture"]), "test --workspace --features cli --lib -- --nocapture");
    }

    #[test]
    fn demo_passes_its_arguments_to_the_demo() {
        let start = "run --profile test --features cli --example demo --";
        assert_eq!(line(Task::Demo, &[]), start);
        assert_eq!(line(Task::Demo, &["--out", "x"]), format!("{start} --out x"));
        assert_eq!(line(Task::Demo, &["--", "--out", "x"]), format!("{start} --out x"));
    }

    #[test]
    fn shaders_passes_the_folder_on() {
        let all = "run --profile test --features cli --example shaders -- /tmp/x";
        assert_eq!(line(Task::Shaders, &["/tmp/x"]), all);
        assert_eq!(line(Task::Times, &[]), "run --release --features cli --example shaders -- --times");
        assert!(Task::Demo.wants_adapter() && TEST.wants_adapter() && !Task::Shaders.wants_adapter());
    }

    #[test]
    fn the_demo_alone_goes_on_without_an_adapter() {
        let why = || "No adapter answers.".to_owned();
        assert!(Task::Demo.without_adapter(why()).is_ok_and(|note| note.starts_with(&why()) && note.contains("CPU")));
        assert_eq!(TEST.without_adapter(why()), Err(why()));
    }

    #[test]
    fn the_root_holds_the_workspace() {
        let manifest = std::fs::read_to_string(workspace_root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }
}
