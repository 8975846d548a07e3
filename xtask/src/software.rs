//! What to do where a driver in software that was asked for by name does not answer.

// Elsewhere only the tests use it.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

use crate::install::{Adapter, Decision, Facts, Family, Kind, with_apt};
use std::path::{Path, PathBuf};

pub const SWIFTSHADER: &[&str] = &["chromium", "libvulkan1"];
pub const GL: &[&str] = &["libegl1", "libegl-mesa0", "libgl1-mesa-dri"];

const MANIFEST: &str = "vk_swiftshader_icd.json";

/// Where Debian and Arch, Fedora, Google and the snap put Chromium or Chrome.
const FOLDERS: [&str; 5] = [
    "/usr/lib/chromium",
    "/usr/lib64/chromium-browser",
    "/opt/google/chrome",
    "/snap/chromium/current/usr/lib/chromium-browser",
    "/usr/lib/chromium-browser",
];

/// SwiftShader's manifest: the one that a variable names already, else where browsers have it.
pub fn manifest() -> Option<PathBuf> {
    let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].map(|name| std::env::var_os(name).map(PathBuf::from));
    let named = named.into_iter().flatten().filter(|path| path.ends_with(MANIFEST));
    let usual = FOLDERS.iter().map(|folder| Path::new(folder).join(MANIFEST));
    named.chain(usual).find(|path| path.is_file())
}

pub fn swiftshader(facts: &Facts, installed: bool) -> Decision {
    if let Some(adapter) = facts.adapters.iter().find(|a| a.name.contains("SwiftShader")) {
        return Decision::Use(adapter.clone());
    }
    let reason = match (&facts.swiftshader, &facts.loader) {
        (None, _) => format!("SwiftShader is missing ({MANIFEST} is in none of {})", FOLDERS.join(", ")),
        (Some(_), Err(why)) => format!("The Vulkan loader, which SwiftShader needs, does not load ({why})"),
        (Some(path), Ok(())) => {
            let names: Vec<_> = facts.adapters.iter().map(|a| a.name.as_str()).collect();
            let offered = if names.is_empty() { "no device".into() } else { names.join(", ") };
            return Decision::Stop(format!(
                "{} is here, but with it the Vulkan loader offers {offered} instead of SwiftShader. \
                 `VK_LOADER_DEBUG=all cargo xtask test --driver swiftshader` shows what the loader tries.",
                path.display()
            ));
        }
    };
    if installed {
        return Decision::Stop(format!("{} are installed now, and still: {reason}.", SWIFTSHADER.join(" and ")));
    }
    match facts.family {
        Family::Debian if facts.ubuntu && facts.swiftshader.is_none() => Decision::Stop(format!(
            "{reason}. Ubuntu's Chromium is a snap, which is not installed from here: run `sudo snap install \
             chromium` or install Google Chrome, then try again."
        )),
        Family::Debian => with_apt(facts, &reason, SWIFTSHADER),
        _ => Decision::Stop(format!(
            "{reason}. Install Chromium or Google Chrome, which bring it, and the Vulkan loader (libvulkan.so.1), then \
             try again; where it lies elsewhere, VK_DRIVER_FILES may name the file."
        )),
    }
}

pub fn gl(facts: &Facts, installed: bool) -> Decision {
    let why = match &facts.egl {
        Ok(egl) => {
            let name = format!("OpenGL through {egl}");
            return Decision::Use(Adapter { name, kind: Kind::Cpu, version: None });
        }
        Err(why) => why,
    };
    let reason = format!("OpenGL does not answer ({why})");
    if installed {
        return Decision::Stop(format!("{} are installed now, and still: {reason}.", GL.join(", ")));
    }
    match facts.family {
        Family::Debian => with_apt(facts, &reason, GL),
        _ => Decision::Stop(format!(
            "{reason}. Install libEGL.so.1 and Mesa's OpenGL driver llvmpipe (swrast) with your package manager, then \
             try again."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::install::decide_for;
    use crate::install::tests::{adapter, bare, has};

    fn stop(driver: Driver, facts: &Facts, installed: bool) -> String {
        match decide_for(driver, facts, installed) {
            Decision::Stop(why) => why,
            other => panic!("expected a stop, got {other:?}"),
        }
    }

    /// A Debian that has Chromium.
    fn browser() -> Facts {
        Facts { swiftshader: Some("/usr/lib/chromium/vk_swiftshader_icd.json".into()), ..bare() }
    }

    #[test]
    fn swiftshader_is_used_where_it_answers() {
        let named = adapter("SwiftShader Device (Subzero)", Kind::Cpu);
        let facts = Facts { adapters: vec![named.clone()], ..browser() };
        assert_eq!(decide_for(Driver::SwiftShader, &facts, false), Decision::Use(named));
    }

    #[test]
    fn swiftshader_is_installed_as_mesa_is() {
        let decision = |facts: &Facts| decide_for(Driver::SwiftShader, facts, false);
        assert_eq!(decision(&Facts { root: true, ..bare() }), Decision::Install);
        assert_eq!(decision(&Facts { terminal: true, ..bare() }), Decision::Ask);
        let why = stop(Driver::SwiftShader, &bare(), false);
        has(&why, &["SwiftShader is missing (vk_swiftshader_icd.json is in none of /usr/lib/chromium"]);
        has(why.lines().last().unwrap(), &["sudo apt-get install -y --no-install-recommends chromium libvulkan1"]);
        // The browser without a loader.
        let facts = Facts { loader: Err("libvulkan.so.1: no such file".into()), root: true, ..browser() };
        assert_eq!(decision(&facts), Decision::Install);
        has(&stop(Driver::SwiftShader, &Facts { root: false, ..facts }, false), &["does not load (libvulkan.so.1: no"]);
    }

    #[test]
    fn another_adapter_does_not_pass_for_swiftshader() {
        let facts = Facts { adapters: vec![adapter("llvmpipe", Kind::Cpu)], root: true, ..browser() };
        has(&stop(Driver::SwiftShader, &facts, false), &["/usr/lib/chromium/vk_", "offers llvmpipe instead"]);
        has(&stop(Driver::SwiftShader, &browser(), false), &["offers no device instead"]);
    }

    #[test]
    fn other_systems_are_told_where_swiftshader_comes_from() {
        let facts = Facts { root: true, ..bare() };
        has(&stop(Driver::SwiftShader, &Facts { ubuntu: true, ..facts.clone() }, false), &["snap install chromium"]);
        let fedora = Facts { family: Family::Fedora, ..facts };
        has(&stop(Driver::SwiftShader, &fedora, false), &["Install Chromium or Google Chrome", "VK_DRIVER_FILES"]);
    }

    #[test]
    fn gl_is_used_or_installed_as_mesa_is() {
        let decision = |facts: &Facts| decide_for(Driver::Gl, facts, false);
        let Decision::Use(used) = decision(&Facts { egl: Ok("EGL 1.5 of Mesa Project".into()), ..bare() }) else {
            panic!("not used");
        };
        assert_eq!(used.to_string(), "OpenGL through EGL 1.5 of Mesa Project, cpu");
        assert_eq!(decision(&Facts { root: true, ..bare() }), Decision::Install);
        assert_eq!(decision(&Facts { terminal: true, ..bare() }), Decision::Ask);
        // Vulkan makes no difference.
        let facts = Facts { adapters: vec![adapter("llvmpipe", Kind::Cpu)], ..bare() };
        has(&stop(Driver::Gl, &facts, false), &["sudo apt-get install", "libegl1 libegl-mesa0 libgl1-mesa-dri"]);
        has(&stop(Driver::Gl, &Facts { family: Family::Arch, ..facts }, false), &["Install libEGL.so.1"]);
    }

    #[test]
    fn an_install_that_did_not_help_is_not_repeated() {
        let facts = Facts { root: true, ..bare() };
        has(&stop(Driver::SwiftShader, &facts, true), &["chromium and libvulkan1 are installed now", "is missing"]);
        has(&stop(Driver::Gl, &facts, true), &["libgl1-mesa-dri are installed now", "not looked at"]);
    }
}
