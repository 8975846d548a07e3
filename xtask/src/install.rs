//! What to do where no adapter answers: the decision, then carrying it out.

// Elsewhere only the tests use it.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

use crate::driver::Driver;
use crate::software;
use std::fmt;
use std::path::PathBuf;

pub const PACKAGE: &str = "mesa-vulkan-drivers";

/// What was found on the machine; the decision depends on nothing else.
#[derive(Debug, Clone)]
pub struct Facts {
    pub adapters: Vec<Adapter>,
    /// Whether libvulkan.so.1 could be loaded, or why not.
    pub loader: Result<(), String>,
    pub gpus: Vec<Gpu>,
    /// Set where NVIDIA's kernel driver is (/dev/nvidia0) and no GPU answers.
    pub nvidia: Option<Nvidia>,
    /// Environment variables that choose drivers for the loader.
    pub variables: Vec<(String, String)>,
    /// Manifests of the drivers that are installed.
    pub drivers: Vec<PathBuf>,
    pub family: Family,
    /// Ubuntu itself, where Chromium is a snap.
    pub ubuntu: bool,
    /// SwiftShader's manifest, looked for only where it is asked for.
    pub swiftshader: Option<PathBuf>,
    /// What EGL offers without a screen, or why nothing; looked at only for OpenGL.
    pub egl: Result<String, String>,
    pub container: bool,
    pub root: bool,
    /// Whether stdin and stderr are terminals, so that a question has an answer.
    pub terminal: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    pub name: String,
    pub kind: Kind,
    /// Vulkan's, where it is Vulkan's.
    pub version: Option<(u32, u32)>,
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Discrete => "discrete GPU",
            Kind::Integrated => "integrated GPU",
            Kind::Virtual => "virtual GPU",
            Kind::Other => "other",
            Kind::Cpu => "cpu",
        };
        write!(f, "{}, {kind}", self.name)?;
        self.version.map_or(Ok(()), |(major, minor)| write!(f, ", Vulkan {major}.{minor}"))
    }
}

/// In the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Discrete,
    Integrated,
    Virtual,
    Other,
    Cpu,
}

#[derive(Debug, Clone)]
pub struct Gpu {
    pub node: String,
    pub vendor: Vendor,
    pub access: Access,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Vendor {
    Amd,
    Intel,
    Nvidia,
    Virtual,
    /// The kernel driver's name, where it has one.
    Other(String),
}

#[derive(Debug, Clone)]
pub enum Access {
    Open,
    /// Open to this group only: its name, or its number where it has no name here.
    Group(Result<String, u32>),
    /// Open to root only.
    Root,
    Refused(String),
}

/// NVIDIA's own driver.
#[derive(Debug, Clone)]
pub struct Nvidia {
    /// Whether libGLX_nvidia.so.0, which holds its Vulkan driver, can be loaded.
    pub library: Result<(), String>,
    /// Whether a manifest names it to the loader.
    pub manifest: bool,
}

/// Distributions, by what their packages are called.
#[derive(Debug, Clone, PartialEq)]
pub enum Family {
    Debian,
    Fedora,
    Arch,
    Alpine,
    Suse,
    NixOs,
    /// Its name, where it gives one.
    Other(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Go on with this adapter.
    Use(Adapter),
    /// Install the driver now: this is root on Debian or Ubuntu.
    Install,
    /// Ask at the terminal, then install it through sudo.
    Ask,
    /// Say this and stop.
    Stop(String),
}

/// What to do for `driver`. `installed` says that this run has installed it already.
pub fn decide_for(driver: Driver, facts: &Facts, installed: bool) -> Decision {
    match driver {
        Driver::AtHand => decide(facts, installed),
        Driver::SwiftShader => software::swiftshader(facts, installed),
        Driver::Gl => software::gl(facts, installed),
    }
}

/// What Debian and Ubuntu call it.
fn packages(driver: Driver) -> &'static [&'static str] {
    match driver {
        Driver::AtHand => &[PACKAGE],
        Driver::SwiftShader => software::SWIFTSHADER,
        Driver::Gl => software::GL,
    }
}

fn decide(facts: &Facts, installed: bool) -> Decision {
    if let Some(best) = facts.adapters.iter().min_by_key(|a| a.kind) {
        return Decision::Use(best.clone());
    }
    let variables = variable_list(facts);
    // With no driver installed the variable may name the one that is about to be.
    if !facts.variables.is_empty() && !facts.drivers.is_empty() {
        return Decision::Stop(format!(
            "No Vulkan adapter answers, and the environment is the cause: {variables} keeps the \
             Vulkan loader from the drivers that are installed ({}). Unset it and run this again.",
            driver_list(facts)
        ));
    }
    let reason = match &facts.loader {
        Ok(()) => "No Vulkan adapter answers",
        Err(_) => "The Vulkan loader libvulkan.so.1 is missing, so no adapter answers",
    };
    if installed {
        let loader = match &facts.loader {
            Ok(()) => "libvulkan.so.1 loads".to_string(),
            Err(why) => format!("libvulkan.so.1 does not load ({why})"),
        };
        let drivers = if facts.drivers.is_empty() {
            "no driver has a manifest in vulkan/icd.d".to_string()
        } else {
            format!("the drivers installed ({}) offer no device", driver_list(facts))
        };
        let variables = match variables.as_str() {
            "" => String::new(),
            set => format!(", {set} is set"),
        };
        return Decision::Stop(format!(
            "{PACKAGE} is installed now and still no Vulkan adapter answers: {loader}, \
             {drivers}{variables}. `VK_LOADER_DEBUG=all cargo xtask test` shows what the loader tries."
        ));
    }
    match &facts.family {
        Family::Debian => with_apt(facts, reason, packages(Driver::AtHand)),
        other => Decision::Stop(format!("{reason}. {}", software_driver(other))),
    }
}

/// Where apt has what is missing: root installs, a user at a terminal is asked, any other gets the line.
pub fn with_apt(facts: &Facts, reason: &str, packages: &[&str]) -> Decision {
    if facts.root {
        Decision::Install
    } else if facts.terminal {
        Decision::Ask
    } else {
        Decision::Stop(format!("{reason}. Run this, then try again:\n{}", line(true, packages)))
    }
}

/// Why a GPU that is plugged in does not answer: a driver, a loader or a group
/// that is missing. Empty where one answers or none is there.
pub fn notes(facts: &Facts) -> Vec<String> {
    let Some(first) = facts.gpus.first() else {
        return Vec::new();
    };
    if facts.adapters.iter().any(|a| a.kind != Kind::Cpu) {
        return Vec::new();
    }
    if let Err(why) = &facts.loader {
        let package = match facts.family {
            Family::Debian | Family::Suse => "libvulkan1",
            Family::Arch => "vulkan-icd-loader",
            _ => "vulkan-loader",
        };
        return vec![format!("{} is here, but the Vulkan loader is missing: install {package} ({why}).", named(first))];
    }
    if !facts.variables.is_empty() {
        return vec![format!(
            "{} is here, but {} chooses the Vulkan drivers and none of those offers it.",
            named(first),
            variable_list(facts)
        )];
    }
    facts.gpus.iter().map(|gpu| format!("{} is here, but {}", named(gpu), missing(gpu, facts))).collect()
}

fn named(gpu: &Gpu) -> String {
    let what = match &gpu.vendor {
        Vendor::Amd => "An AMD GPU",
        Vendor::Intel => "An Intel GPU",
        Vendor::Nvidia => "An NVIDIA GPU",
        Vendor::Virtual => "A virtual GPU",
        Vendor::Other(_) => "A GPU",
    };
    format!("{what} ({})", gpu.node)
}

fn missing(gpu: &Gpu, facts: &Facts) -> String {
    match &gpu.access {
        Access::Group(Ok(group)) => {
            return format!(
                "only the group `{group}` may open it: run `sudo usermod -aG {group} $USER`, then log \
                 in again."
            );
        }
        Access::Group(Err(gid)) => {
            return format!(
                "only group {gid} may open it, which has no name here. In a container, start it with \
                 `--group-add {gid}`."
            );
        }
        Access::Root => {
            let node = &gpu.node;
            return format!(
                "only root may open it: run `sudo chgrp render {node} && sudo chmod g+rw {node} && sudo \
                 usermod -aG render $USER`, then log in again."
            );
        }
        Access::Refused(why) => {
            return format!("it cannot be opened ({why}). A container has to be given it (`--device {}`).", gpu.node);
        }
        Access::Open => {}
    }
    match (&gpu.vendor, &facts.nvidia) {
        (Vendor::Nvidia, Some(nvidia)) => nvidia_missing(nvidia, facts),
        (Vendor::Nvidia, None) => "NVIDIA's own driver does not run it: install that (Debian: nvidia-driver \
             and nvidia-vulkan-icd), or Mesa 24.1 or newer, whose NVK driver works with the kernel's nouveau."
            .into(),
        (Vendor::Virtual, _) => "it is the host's, and offers Vulkan only where the host passes it on (for \
             virtio-gpu: Venus). Software rendering takes its place."
            .into(),
        (vendor, _) => {
            let package = mesa_package(&facts.family, vendor);
            // Old drivers do not know new hardware, and installing them again does not help.
            if facts.drivers.is_empty() {
                format!("its Vulkan driver is missing: install {package}.")
            } else {
                format!(
                    "none of the Vulkan drivers installed offers it ({}): install or update {package}.",
                    driver_list(facts)
                )
            }
        }
    }
}

fn nvidia_missing(nvidia: &Nvidia, facts: &Facts) -> String {
    let package = match facts.family {
        Family::Debian => "nvidia-vulkan-icd (Ubuntu: the libnvidia-gl-* of the driver's version)",
        Family::Fedora => "xorg-x11-drv-nvidia-libs (RPM Fusion)",
        Family::Arch => "nvidia-utils",
        _ => "the Vulkan part of NVIDIA's driver",
    };
    match &nvidia.library {
        Err(why) if facts.container => format!(
            "NVIDIA's Vulkan driver cannot be loaded in this container ({why}): start it with \
             NVIDIA_DRIVER_CAPABILITIES=all (or one that includes `graphics`). If it is another library \
             that this names, install that in it."
        ),
        Err(why) => format!("NVIDIA's Vulkan driver cannot be loaded ({why}): install {package}."),
        Ok(()) if !nvidia.manifest => {
            format!("no manifest (nvidia_icd.json) names NVIDIA's Vulkan driver to the loader: install {package}.")
        }
        Ok(()) => "NVIDIA's Vulkan driver offers no device. `nvidia-smi` says whether it and the kernel \
             module are of one version."
            .into(),
    }
}

fn mesa_package(family: &Family, vendor: &Vendor) -> String {
    let (amd, intel, other) = match family {
        Family::Debian | Family::Fedora => (PACKAGE, PACKAGE, PACKAGE),
        Family::Arch => ("vulkan-radeon", "vulkan-intel", "the vulkan-* package for it"),
        Family::Alpine => ("mesa-vulkan-ati", "mesa-vulkan-intel", "the mesa-vulkan-* package for it"),
        Family::Suse => ("libvulkan_radeon", "libvulkan_intel", "the libvulkan_* package for it"),
        Family::NixOs | Family::Other(_) => ("Mesa's RADV driver", "Mesa's ANV driver", "Mesa's Vulkan driver for it"),
    };
    match vendor {
        Vendor::Amd => amd.into(),
        Vendor::Intel => intel.into(),
        Vendor::Other(driver) if !driver.is_empty() => format!("{other} (kernel driver {driver})"),
        _ => other.into(),
    }
}

fn software_driver(family: &Family) -> String {
    let command = match family {
        Family::Debian => line(true, &[PACKAGE]),
        Family::Fedora => "sudo dnf install vulkan-loader mesa-vulkan-drivers".into(),
        Family::Arch => "sudo pacman -S vulkan-icd-loader vulkan-swrast".into(),
        Family::Alpine => "sudo apk add vulkan-loader mesa-vulkan-swrast".into(),
        Family::Suse => "sudo zypper install libvulkan1 libvulkan_lvp".into(),
        Family::NixOs => {
            return "On NixOS set `hardware.graphics.enable = true;` (before 24.11: \
                    `hardware.opengl.enable`) and have vulkan-loader's lib folder on LD_LIBRARY_PATH."
                .into();
        }
        Family::Other(name) => {
            let name = if name.is_empty() { "this system" } else { name };
            return format!(
                "Install two things with the package manager of {name}: the Vulkan loader \
                 (libvulkan.so.1) and Mesa's software driver Lavapipe (libvulkan_lvp.so with its \
                 manifest lvp_icd.*.json)."
            );
        }
    };
    format!("Run this, then try again:\n{command}")
}

fn variable_list(facts: &Facts) -> String {
    let each = facts.variables.iter().map(|(name, value)| format!("{name}={value}"));
    each.collect::<Vec<_>>().join(" with ")
}

fn driver_list(facts: &Facts) -> String {
    let names = facts.drivers.iter().map(|d| d.file_name().unwrap_or(d.as_os_str()).to_string_lossy());
    names.collect::<Vec<_>>().join(", ")
}

/// The two commands that install `packages` on Debian and Ubuntu.
fn apt<'a>(packages: &[&'a str]) -> [Vec<&'a str>; 2] {
    let install = ["apt-get", "install", "-y", "--no-install-recommends"];
    [vec!["apt-get", "update"], [&install, packages].concat()]
}

fn line(sudo: bool, packages: &[&str]) -> String {
    let prefix = if sudo { "sudo " } else { "" };
    apt(packages).map(|words| format!("{prefix}{}", words.join(" "))).join(" && ")
}

#[cfg(target_os = "linux")]
pub use act::ensure;

#[cfg(target_os = "linux")]
mod act {
    use super::*;
    use std::process::{Command, Stdio};

    /// Gives the adapter to use, after installing `driver` (for the one at hand
    /// Mesa's) if that is what it takes, or says why there is none.
    pub fn ensure(driver: Driver, gather: impl Fn(Driver) -> Facts) -> Result<Adapter, String> {
        let packages = packages(driver);
        let mut said = Vec::new();
        let mut installed = false;
        loop {
            let facts = gather(driver);
            // A GPU is missed only where nobody asked for something else.
            let notes = if driver == Driver::AtHand { notes(&facts) } else { Vec::new() };
            for note in notes {
                if !said.contains(&note) {
                    eprintln!("note: {note}");
                    said.push(note);
                }
            }
            match decide_for(driver, &facts, installed) {
                Decision::Use(adapter) => return Ok(adapter),
                Decision::Stop(why) => return Err(why),
                Decision::Install => install(false, packages)?,
                Decision::Ask => {
                    let line = line(true, packages);
                    let question = match driver {
                        Driver::AtHand => "No Vulkan adapter answers. This installs Mesa's software driver",
                        Driver::SwiftShader => "SwiftShader does not answer. This installs Chromium, which brings it",
                        Driver::Gl => "OpenGL does not answer. This installs Mesa's",
                    };
                    eprintln!("{question}:\n{line}");
                    if !agreed() {
                        return Err(format!("Nothing was installed. Run this, then try again:\n{line}"));
                    }
                    install(true, packages)?;
                }
            }
            installed = true;
        }
    }

    fn agreed() -> bool {
        eprint!("Run it now? [y/N] ");
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
    }

    fn install(sudo: bool, packages: &[&str]) -> Result<(), String> {
        eprintln!("running: {}", line(sudo, packages));
        for words in apt(packages) {
            let words = if sudo { [vec!["sudo"], words].concat() } else { words };
            let mut command = Command::new(words[0]);
            command.args(&words[1..]);
            if !sudo {
                // Nobody is asked anything: packages take their defaults.
                command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
            }
            let shown = words.join(" ");
            let status = command.status().map_err(|e| {
                let as_root =
                    if sudo { format!(" Run this as root:\n{}", line(false, packages)) } else { String::new() };
                format!("`{shown}` could not be started ({e}), so nothing was installed.{as_root}")
            })?;
            if !status.success() {
                return Err(format!(
                    "`{shown}` failed ({status}), so the driver could not be installed; its own \
                     message is above. Once that is mended, run this again."
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    const LINE: &str = "apt-get update && apt-get install -y --no-install-recommends mesa-vulkan-drivers";
    const SUDO_LINE: &str =
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends mesa-vulkan-drivers";

    /// A bare Debian: a loader, no driver, no GPU, an ordinary user without a terminal.
    pub fn bare() -> Facts {
        Facts {
            adapters: Vec::new(),
            loader: Ok(()),
            gpus: Vec::new(),
            nvidia: None,
            variables: Vec::new(),
            drivers: Vec::new(),
            family: Family::Debian,
            ubuntu: false,
            swiftshader: None,
            egl: Err("not looked at".into()),
            container: false,
            root: false,
            terminal: false,
        }
    }

    pub fn adapter(name: &str, kind: Kind) -> Adapter {
        Adapter { name: name.into(), kind, version: Some((1, 3)) }
    }

    fn gpu(vendor: Vendor, access: Access) -> Gpu {
        let node = if vendor == Vendor::Nvidia { "/dev/nvidia0" } else { "/dev/dri/renderD128" };
        Gpu { node: node.into(), vendor, access }
    }

    fn stop(facts: &Facts, installed: bool) -> String {
        match decide(facts, installed) {
            Decision::Stop(why) => why,
            other => panic!("expected a stop, got {other:?}"),
        }
    }

    /// The one note that `facts` give.
    fn note(facts: &Facts) -> String {
        let mut notes = notes(facts);
        assert_eq!(notes.len(), 1, "{notes:?}");
        notes.remove(0)
    }

    #[track_caller]
    pub fn has(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
    }

    #[test]
    fn the_best_adapter_is_used_and_shown() {
        let software = adapter("llvmpipe (LLVM 15.0.6, 256 bits)", Kind::Cpu);
        let hardware = adapter("Arc", Kind::Discrete);
        let facts = Facts { adapters: vec![software.clone(), hardware.clone()], ..bare() };
        assert_eq!(decide(&facts, false), Decision::Use(hardware));
        assert_eq!(software.to_string(), "llvmpipe (LLVM 15.0.6, 256 bits), cpu, Vulkan 1.3");
    }

    #[test]
    fn root_on_debian_installs_at_once() {
        assert_eq!(decide(&Facts { root: true, ..bare() }, false), Decision::Install);
        // A terminal makes no difference to root.
        assert_eq!(decide(&Facts { root: true, terminal: true, ..bare() }, false), Decision::Install);
        assert_eq!(line(false, &[PACKAGE]), LINE);
    }

    #[test]
    fn a_user_is_asked_at_a_terminal() {
        assert_eq!(decide(&Facts { terminal: true, ..bare() }, false), Decision::Ask);
    }

    #[test]
    fn a_user_without_a_terminal_gets_the_line() {
        let why = stop(&bare(), false);
        assert_eq!(why.lines().last(), Some(SUDO_LINE), "{why}");
    }

    #[test]
    fn a_missing_loader_is_named() {
        let facts = Facts { loader: Err("no such file".into()), ..bare() };
        has(&stop(&facts, false), &["libvulkan.so.1 is missing", SUDO_LINE]);
    }

    #[test]
    fn other_distributions_are_told_what_to_install() {
        let cases = [
            (Family::Fedora, "sudo dnf install vulkan-loader mesa-vulkan-drivers"),
            (Family::Arch, "sudo pacman -S vulkan-icd-loader vulkan-swrast"),
            (Family::Alpine, "sudo apk add vulkan-loader mesa-vulkan-swrast"),
            (Family::Suse, "sudo zypper install libvulkan1 libvulkan_lvp"),
            (Family::NixOs, "hardware.graphics.enable = true;"),
            (Family::Other("Void Linux".into()), "the package manager of Void Linux"),
            (Family::Other(String::new()), "the package manager of this system"),
        ];
        for (family, part) in cases {
            // Not even root at a terminal has anything installed there.
            has(&stop(&Facts { family, root: true, terminal: true, ..bare() }, false), &[part]);
        }
    }

    #[test]
    fn a_variable_that_hides_the_drivers_is_the_cause() {
        let facts = Facts {
            variables: vec![("VK_ICD_FILENAMES".into(), "/nonexistent".into())],
            drivers: vec!["/usr/share/vulkan/icd.d/lvp_icd.x86_64.json".into()],
            root: true,
            ..bare()
        };
        let parts = ["VK_ICD_FILENAMES=/nonexistent", "lvp_icd.x86_64.json", "Unset it"];
        has(&stop(&facts, false), &parts);
        has(&stop(&facts, true), &parts);
        // It may name the driver that the install will bring.
        assert_eq!(decide(&Facts { drivers: Vec::new(), ..facts }, false), Decision::Install);
    }

    #[test]
    fn an_install_that_did_not_help_is_not_repeated() {
        let facts = Facts { root: true, ..bare() };
        has(&stop(&facts, true), &["still no", "libvulkan.so.1 loads", "no driver has a manifest"]);
        let facts = Facts {
            loader: Err("libvulkan.so.1: no such file".into()),
            drivers: vec!["/usr/share/vulkan/icd.d/lvp_icd.x86_64.json".into()],
            ..facts
        };
        has(&stop(&facts, true), &["does not load (libvulkan.so.1: no such file)", "offer no device"]);
    }

    #[test]
    fn a_gpu_that_answers_needs_no_note() {
        let gpus = vec![gpu(Vendor::Amd, Access::Open)];
        let adapters = vec![adapter("RADV", Kind::Integrated), adapter("llvmpipe", Kind::Cpu)];
        assert!(notes(&Facts { gpus, adapters, ..bare() }).is_empty());
        assert!(notes(&bare()).is_empty());
    }

    #[test]
    fn a_gpu_without_driver_is_named_and_the_software_one_used() {
        let facts = Facts {
            adapters: vec![adapter("llvmpipe", Kind::Cpu)],
            gpus: vec![gpu(Vendor::Amd, Access::Open)],
            drivers: vec!["/usr/share/vulkan/icd.d/lvp_icd.x86_64.json".into()],
            ..bare()
        };
        has(&note(&facts), &["An AMD GPU (/dev/dri/renderD128)", "install or update mesa-vulkan-drivers"]);
        assert_eq!(decide(&facts, false), Decision::Use(adapter("llvmpipe", Kind::Cpu)));
        let arch = Facts { family: Family::Arch, drivers: Vec::new(), ..facts };
        has(&note(&arch), &["its Vulkan driver is missing: install vulkan-radeon."]);
    }

    #[test]
    fn a_gpu_without_permission_names_the_group() {
        let facts = Facts { gpus: vec![gpu(Vendor::Intel, Access::Group(Ok("render".into())))], ..bare() };
        has(&note(&facts), &["An Intel GPU", "`sudo usermod -aG render $USER`"]);
        let facts = Facts { gpus: vec![gpu(Vendor::Intel, Access::Group(Err(992)))], ..facts };
        has(&note(&facts), &["--group-add 992"]);
        let facts = Facts { gpus: vec![gpu(Vendor::Intel, Access::Root)], ..facts };
        has(&note(&facts), &["only root", "chgrp render /dev/dri/renderD128"]);
        let refused = Access::Refused("Operation not permitted (os error 1)".into());
        let facts = Facts { gpus: vec![gpu(Vendor::Intel, refused)], ..facts };
        has(&note(&facts), &["Operation not permitted", "--device /dev/dri/renderD128"]);
    }

    #[test]
    fn a_gpu_without_loader_names_the_loader() {
        let facts = Facts {
            gpus: vec![gpu(Vendor::Amd, Access::Open)],
            loader: Err("libvulkan.so.1: cannot open".into()),
            root: true,
            ..bare()
        };
        has(&note(&facts), &["install libvulkan1", "libvulkan.so.1: cannot open"]);
        assert_eq!(decide(&facts, false), Decision::Install);
    }

    #[test]
    fn a_gpu_that_a_variable_leaves_out_is_said_to_be() {
        let facts = Facts {
            adapters: vec![adapter("llvmpipe", Kind::Cpu)],
            gpus: vec![gpu(Vendor::Amd, Access::Open)],
            variables: vec![("VK_DRIVER_FILES".into(), "/lvp.json".into())],
            ..bare()
        };
        has(&note(&facts), &["VK_DRIVER_FILES=/lvp.json chooses the Vulkan drivers"]);
    }

    #[test]
    fn nvidia_is_told_which_part_is_missing() {
        let unloadable = Err("libXext.so.6: cannot open shared object file".to_string());
        let nvidia = |library, manifest| Some(Nvidia { library, manifest });
        let facts =
            Facts { gpus: vec![gpu(Vendor::Nvidia, Access::Open)], nvidia: nvidia(unloadable, false), ..bare() };
        has(&note(&facts), &["An NVIDIA GPU (/dev/nvidia0)", "libXext.so.6", "nvidia-vulkan-icd"]);
        let container = Facts { container: true, ..facts.clone() };
        has(&note(&container), &["libXext.so.6", "NVIDIA_DRIVER_CAPABILITIES=all", "`graphics`"]);
        let facts = Facts { nvidia: nvidia(Ok(()), false), ..facts };
        has(&note(&facts), &["nvidia_icd.json", "nvidia-vulkan-icd"]);
        let facts = Facts { nvidia: nvidia(Ok(()), true), ..facts };
        has(&note(&facts), &["nvidia-smi"]);
        // No /dev/nvidia0: the kernel's own driver runs it.
        has(&note(&Facts { nvidia: None, ..facts }), &["NVK", "nouveau"]);
    }

    #[test]
    fn a_virtual_gpu_is_called_one() {
        let facts = Facts { gpus: vec![gpu(Vendor::Virtual, Access::Open)], ..bare() };
        has(&note(&facts), &["A virtual GPU", "Venus"]);
    }

    #[test]
    fn every_gpu_gets_its_note() {
        let gpus = vec![gpu(Vendor::Amd, Access::Open), gpu(Vendor::Virtual, Access::Open)];
        assert_eq!(notes(&Facts { gpus, ..bare() }).len(), 2);
    }
}
