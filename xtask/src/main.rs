//! Development commands: `cargo xtask demo`, `cargo xtask test` and `cargo xtask shaders`.
//!
//! The first two look whether wgpu will find an adapter before they start a build
//! that would take minutes to find out. Nothing here depends on wgpu, so this
//! program itself builds in seconds.

mod driver;
mod run;

use driver::{AT_HAND, Driver};
use std::ffi::OsString;
use std::process::ExitCode;

const HELP: &str = "\
Development commands of wgpu-norm.

Usage: cargo xtask <COMMAND> [ARGS]...

Commands:
  demo [ARGS]...  Look for an adapter, then build and run the demo with ARGS
  test [ARGS]...  Look for an adapter, then run the tests; ARGS go to cargo test
  shaders DIR     Write every shader as DIR/NAME.wgsl, and DIR/shaders.json with
                  each one's entry point, constants and workgroup size, and in
                  DIR/platforms those of plans for GPUs that are not at hand;
                  DIR is made where it is not there, other files in it stay
  shaders --times Look for an adapter, then print how long naga, the driver and
                  Chromium, where there is one, take over the largest shaders

Options:
  -h, --help      Print this

Options of `test`, directly after it:
  --thorough      Run all of every sweep and all random draws, which takes a few
                  minutes more; the same as WGPU_NORM_THOROUGH=1
  --driver NAME   On Linux: `lavapipe` runs the tests on Mesa's software Vulkan,
                  `swiftshader` on the one that comes with Chromium, `gl` on
                  wgpu's OpenGL backend over Mesa's software renderer

On Linux demo and test look for a Vulkan device, or for the driver that is named.
Where there is none on Debian or Ubuntu they install it, Mesa's software Vulkan
(mesa-vulkan-drivers) unless another is named: at once as root, after a `y` at a
terminal through sudo, and otherwise they print the command. On other
distributions they say what to install. Without an adapter test exits 1, and demo
runs on the CPU engine alone. macOS and Windows bring Metal and Direct3D 12, so
nothing is looked for there.

Examples:
  cargo xtask demo
  cargo xtask test
  cargo xtask test layer_norm -- --nocapture
  cargo xtask test --thorough
  cargo xtask test --driver swiftshader --test suite
  cargo xtask shaders target/shaders

The exit status is that of what was run, 1 where test found no adapter and 2
for arguments that are not understood.
";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
enum Request {
    Help,
    Run(run::Task, &'static Driver, Vec<OsString>),
}

fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Request, String> {
    let Some(first) = args.next() else {
        return Err("No command was given: `demo`, `test` or `shaders`.".into());
    };
    let mut task = match first.to_str() {
        Some("-h" | "--help" | "help") => return Ok(Request::Help),
        Some("demo") => run::Task::Demo,
        Some("test") => run::Task::Test { thorough: false },
        Some("shaders") => run::Task::Shaders,
        _ => {
            let first = first.to_string_lossy();
            let what = if first.starts_with('-') { "an option" } else { "a command" };
            return Err(format!(
                "`{first}` is not {what} of cargo xtask, which knows `demo`, `test`, `shaders` and `--help`."
            ));
        }
    };
    let mut rest: Vec<OsString> = args.collect();
    // xtask's own options stand directly after the command; the rest is passed on.
    let mut driver = &AT_HAND;
    if let run::Task::Test { thorough } = &mut task {
        while let Some(first) = rest.first().map(|a| a.to_string_lossy().into_owned()) {
            if first == "--thorough" {
                *thorough = true;
                rest.remove(0);
            } else if first == "--driver" {
                let name = rest.get(1).ok_or("`--driver` takes a name: `lavapipe`, `swiftshader` or `gl`.")?;
                driver = Driver::named(&name.to_string_lossy())?;
                rest.drain(..2);
            } else if let Some(name) = first.strip_prefix("--driver=") {
                driver = Driver::named(name)?;
                rest.remove(0);
            } else {
                break;
            }
        }
    }
    match rest.first().and_then(|a| a.to_str()) {
        Some("-h" | "--help") => Ok(Request::Help),
        Some("--times") if task == run::Task::Shaders && rest.len() == 1 => {
            Ok(Request::Run(run::Task::Times, driver, Vec::new()))
        }
        _ if task == run::Task::Shaders => {
            let [folder] = rest.as_slice() else {
                return Err(
                    "`shaders` takes one folder to write to, as in `cargo xtask shaders target/shaders`, or `--times`."
                        .into(),
                );
            };
            // cargo runs in the workspace's root, wherever this was started.
            let folder = std::path::absolute(folder).map_err(|e| format!("`shaders` takes a folder ({e})."))?;
            Ok(Request::Run(task, driver, vec![folder.into()]))
        }
        _ => Ok(Request::Run(task, driver, rest)),
    }
}

fn main() -> ExitCode {
    let (task, driver, rest) = match parse(std::env::args_os().skip(1)) {
        Ok(Request::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Request::Run(task, driver, rest)) => (task, driver, rest),
        Err(sentence) => {
            eprintln!("error: {sentence} See `cargo xtask --help`.");
            return ExitCode::from(2);
        }
    };
    let runtime = run::runtime_dir();
    // Only here, since with OpenGL wgpu makes an adapter more of every driver.
    let features: &[&str] = if driver.is_gl() { &["--features", "gles"] } else { &[] };
    let rest: Vec<OsString> = features.iter().map(OsString::from).chain(rest).collect();
    let found = if task.wants_adapter() { driver.ensure() } else { Ok(()) };
    let found = found.or_else(|why| task.without_adapter(why).map(|note| eprintln!("note: {note}")));
    let outcome = found.and_then(|()| task.run(&rest, runtime.as_ref()));
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(paragraph) => {
            eprintln!("error: {paragraph}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: run::Task = run::Task::Test { thorough: false };

    fn parsed(args: &[&str]) -> Result<Request, String> {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn help_is_asked_for_before_or_after_a_command() {
        for args in [&["--help"][..], &["-h"], &["help"], &["demo", "--help"], &["test", "-h"]] {
            assert_eq!(parsed(args), Ok(Request::Help), "{args:?}");
        }
    }

    #[test]
    fn arguments_after_the_command_are_passed_on() {
        let rest = ["layer_norm", "--", "--help"];
        assert_eq!(
            parsed(&["test", rest[0], rest[1], rest[2]]),
            Ok(Request::Run(TEST, &AT_HAND, rest.map(OsString::from).to_vec()))
        );
    }

    #[test]
    fn a_driver_is_named_directly_after_test() {
        let named = |name| Driver::named(name).unwrap();
        let run = |driver, rest: &[&str]| Ok(Request::Run(TEST, driver, rest.iter().map(OsString::from).collect()));
        assert_eq!(parsed(&["test", "--driver", "lavapipe"]), run(named("lavapipe"), &[]));
        assert_eq!(parsed(&["test", "--driver=gl", "--test", "suite"]), run(named("gl"), &["--test", "suite"]));
        assert_eq!(parsed(&["test", "--driver", "gl", "--help"]), Ok(Request::Help));
        // Anywhere else it is for cargo, or for the demo.
        assert_eq!(parsed(&["test", "x", "--driver", "gl"]), run(&AT_HAND, &["x", "--driver", "gl"]));
        let demo = ["--driver", "gl"].map(OsString::from).to_vec();
        assert_eq!(parsed(&["demo", "--driver", "gl"]), Ok(Request::Run(run::Task::Demo, &AT_HAND, demo)));
    }

    #[test]
    fn thorough_is_asked_for_directly_after_test() {
        let gl = Driver::named("gl").unwrap();
        let run = |thorough, driver, rest: &[&str]| {
            let rest = rest.iter().map(OsString::from).collect();
            Ok(Request::Run(run::Task::Test { thorough }, driver, rest))
        };
        assert_eq!(parsed(&["test", "--thorough", "--lib"]), run(true, &AT_HAND, &["--lib"]));
        assert_eq!(parsed(&["test", "--thorough", "--driver", "gl"]), run(true, gl, &[]));
        assert_eq!(parsed(&["test", "--driver=gl", "--thorough", "x"]), run(true, gl, &["x"]));
        assert_eq!(parsed(&["test", "x", "--thorough"]), run(false, &AT_HAND, &["x", "--thorough"]));
    }

    #[test]
    fn a_driver_that_is_none_is_said_to_be() {
        assert!(parsed(&["test", "--driver"]).unwrap_err().contains("takes a name"));
        for args in [&["test", "--driver", "metal"][..], &["test", "--driver=metal"]] {
            assert!(parsed(args).unwrap_err().contains("`metal` is no driver"), "{args:?}");
        }
    }

    #[test]
    fn shaders_takes_one_folder() {
        let here = std::env::current_dir().unwrap();
        let request = |folder: std::path::PathBuf| Ok(Request::Run(run::Task::Shaders, &AT_HAND, vec![folder.into()]));
        assert_eq!(parsed(&["shaders", "out"]), request(here.join("out")));
        assert_eq!(parsed(&["shaders", here.to_str().unwrap()]), request(here));
        assert_eq!(parsed(&["shaders", "--help"]), Ok(Request::Help));
        assert_eq!(parsed(&["shaders", "--times"]), Ok(Request::Run(run::Task::Times, &AT_HAND, Vec::new())));
        for args in [&["shaders"][..], &["shaders", "a", "b"], &["shaders", ""], &["shaders", "--times", "x"]] {
            assert!(parsed(args).unwrap_err().contains("folder"), "{args:?}");
        }
    }

    #[test]
    fn anything_else_is_named() {
        assert!(parsed(&[]).unwrap_err().contains("No command"));
        assert!(parsed(&["bench"]).unwrap_err().contains("`bench` is not a command"));
        assert!(parsed(&["--fast"]).unwrap_err().contains("`--fast` is not an option"));
    }
}
