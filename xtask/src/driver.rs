//! What the tests run on: looked for first and, on Debian and Ubuntu, installed where it is missing.

use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};

#[derive(Debug, PartialEq)]
pub struct Driver {
    /// What `--driver` calls it.
    name: &'static str,
    /// How the file names of its Vulkan manifests begin. Empty for OpenGL and for the adapter at hand.
    manifest: &'static str,
    /// What to install on Debian and Ubuntu.
    packages: &'static str,
    /// What to install elsewhere.
    parts: &'static str,
}

/// Whatever Vulkan offers. Where that is nothing, Mesa's software Vulkan is installed.
pub const AT_HAND: Driver = Driver {
    name: "",
    manifest: "",
    packages: "mesa-vulkan-drivers",
    parts: "the Vulkan loader (libvulkan.so.1) and Mesa's software Vulkan driver (lavapipe)",
};

static NAMED: [Driver; 3] = [
    Driver { name: "lavapipe", manifest: "lvp_icd", ..AT_HAND },
    Driver {
        name: "swiftshader",
        manifest: "vk_swiftshader_icd",
        packages: "chromium libvulkan1",
        parts: "the Vulkan loader (libvulkan.so.1) and Chromium (Ubuntu: `sudo snap install chromium`) or Google Chrome",
    },
    Driver {
        name: "gl",
        manifest: "",
        packages: "libegl1 libegl-mesa0 libgl1-mesa-dri",
        parts: "libEGL.so.1 and Mesa's OpenGL drivers",
    },
];

/// Where Vulkan's manifests are, and where Debian, Fedora, Google and the snap put Chromium or Chrome.
const FOLDERS: [&str; 6] = [
    "/usr/share/vulkan/icd.d",
    "/etc/vulkan/icd.d",
    "/usr/lib/chromium",
    "/usr/lib64/chromium-browser",
    "/opt/google/chrome",
    "/snap/chromium/current/usr/lib/chromium-browser",
];

impl Driver {
    pub fn named(name: &str) -> Result<&'static Self, String> {
        NAMED.iter().find(|driver| driver.name == name).ok_or_else(|| {
            format!("`{name}` is no driver that --driver knows: it is `lavapipe`, `swiftshader` or `gl`.")
        })
    }

    pub fn is_gl(&self) -> bool {
        self.name == "gl"
    }

    /// Makes sure that an adapter answers, here and in the programs started from here, or says what to do.
    pub fn ensure(&self) -> Result<(), String> {
        if !cfg!(target_os = "linux") {
            // Metal and Direct3D 12 come with the system.
            return if *self == AT_HAND { Ok(()) } else { Err("--driver works on Linux only.".into()) };
        }
        let mut found = self.find();
        if found.is_empty() {
            self.install()?;
            found = self.find();
        }
        if found.is_empty() {
            return Err(format!(
                "No adapter answers, though {} is installed now. VK_DRIVER_FILES and the like, where set, choose the \
                 drivers; VK_LOADER_DEBUG=all shows what the Vulkan loader tries.",
                self.packages
            ));
        }
        eprintln!("adapter: {}", found.join(", "));
        Ok(())
    }

    /// Chooses this driver, and gives the names of its adapters.
    fn find(&self) -> Vec<String> {
        if self.is_gl() {
            // wgpu-hal panics (EGL_BAD_ACCESS) where two threads make an instance each, as the examples do.
            choose(&[("WGPU_BACKEND", "gl"), ("LIBGL_ALWAYS_SOFTWARE", "1"), ("RUST_TEST_THREADS", "1")]);
            // Without dpkg, wgpu says later whether it is there.
            let missing = Command::new("dpkg").arg("-s").args(self.packages.split(' ')).output();
            let missing = missing.is_ok_and(|output| !output.status.success());
            return if missing { Vec::new() } else { vec!["OpenGL".into()] };
        }
        if !self.manifest.is_empty() {
            let files = FOLDERS.iter().filter_map(|folder| Path::new(folder).read_dir().ok()).flatten().flatten();
            let manifests = files.filter(|file| file.file_name().to_string_lossy().starts_with(self.manifest));
            // There may be one for each architecture: the loader takes a list.
            let list: Vec<_> = manifests.map(|file| file.path().display().to_string()).collect();
            if list.is_empty() {
                return Vec::new();
            }
            let list = list.join(":");
            // The second is the first's name before loader 1.3.207.
            choose(&[("WGPU_BACKEND", "vulkan"), ("VK_DRIVER_FILES", &list), ("VK_ICD_FILENAMES", &list)]);
        }
        vulkan_devices().unwrap_or_default()
    }

    fn install(&self) -> Result<(), String> {
        let by_hand = format!("Install {}, then try again.", self.parts);
        if !Path::new("/usr/bin/apt-get").exists() {
            return Err(format!("No adapter answers. {by_hand}"));
        }
        let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0");
        let sudo = if root { "" } else { "sudo " };
        let packages = self.packages;
        let line = format!("{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {packages}");
        let mut answer = String::new();
        if !root && std::io::stdin().is_terminal() {
            eprint!("No adapter answers. This installs a driver:\n{line}\nRun it now? [y/N] ");
            std::io::stdin().read_line(&mut answer).map_err(|error| error.to_string())?;
        }
        if !root && !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Err(format!("No adapter answers. Run this, then try again:\n{line}"));
        }
        eprintln!("running: {line}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).env("DEBIAN_FRONTEND", "noninteractive");
        // sudo may ask for a password.
        let status = if root { shell.stdin(Stdio::null()) } else { &mut shell }.status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("That failed ({status}). {by_hand}")),
            Err(error) => Err(format!("sh could not be started ({error}). {by_hand}")),
        }
    }
}

/// Sets environment variables, so that wgpu and the Vulkan loader take one driver only.
fn choose(variables: &[(&str, &str)]) {
    // SAFETY: this program starts no thread, and the drivers, which may, are loaded after this.
    unsafe {
        std::env::remove_var("WGPU_ADAPTER_NAME");
        variables.iter().for_each(|(name, value)| std::env::set_var(name, value));
    }
}

/// The names of all devices that Vulkan offers; none without a loader or without a driver.
fn vulkan_devices() -> Option<Vec<String>> {
    // SAFETY: this runs the initialisers of libvulkan, a trusted system library. The structure is complete (all
    // defaults) and outlives the call; the instance is live until the end, when nothing made from it is left.
    unsafe {
        let entry = ash::Entry::load().ok()?;
        let instance = entry.create_instance(&ash::vk::InstanceCreateInfo::default(), None).ok()?;
        let devices = instance.enumerate_physical_devices().unwrap_or_default();
        let properties = devices.iter().map(|device| instance.get_physical_device_properties(*device));
        let names = properties.map(|p| p.device_name_as_c_str().unwrap_or_default().to_string_lossy().into_owned());
        let names = names.collect();
        instance.destroy_instance(None);
        Some(names)
    }
}
