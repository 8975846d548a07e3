//! What this machine has: Vulkan devices, GPUs, drivers, who is asking.

use crate::driver::Driver;
use crate::install::{Access, Adapter, Facts, Family, Gpu, Kind, Nvidia, Vendor};
use crate::software;
use std::ffi::{CStr, OsString, c_char, c_void};
use std::fs;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// `driver` chooses what is looked for, here and by all that is started from here.
pub fn gather(driver: Driver) -> Facts {
    let swiftshader = if driver == Driver::SwiftShader { software::manifest() } else { None };
    choose(&driver.environment(swiftshader.as_deref()));
    let egl = if driver == Driver::Gl { egl() } else { Err("not looked at".into()) };
    let vulkan = match driver {
        // Not before its manifest is there to be chosen, or the others would be loaded.
        Driver::SwiftShader if swiftshader.is_none() => Ok(Vec::new()),
        Driver::Gl => Ok(Vec::new()),
        _ => devices(),
    };
    let (loader, adapters) = match vulkan {
        Ok(adapters) => (Ok(()), adapters),
        Err(why) => (Err(why), Vec::new()),
    };
    let drivers = driver_manifests();
    let nvidia_nodes = nodes("/dev", "nvidia");
    // Only looked at where its GPU is silent: there is no need to load it twice.
    let at_hand = driver == Driver::AtHand;
    let silent = at_hand && adapters.iter().all(|a| a.kind == Kind::Cpu) && !nvidia_nodes.is_empty();
    Facts {
        adapters,
        loader,
        nvidia: silent.then(|| nvidia(&drivers)),
        gpus: gpus(nvidia_nodes),
        variables: driver_variables(),
        drivers,
        family: family(&read("/etc/os-release")),
        ubuntu: is_ubuntu(&read("/etc/os-release")),
        swiftshader,
        egl,
        container: in_container(),
        // SAFETY: geteuid takes nothing and always succeeds.
        root: unsafe { libc::geteuid() } == 0,
        terminal: std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
    }
}

/// Sets variables for the loaders here and for the programs started from here, or removes them.
fn choose(variables: &[(&str, Option<OsString>)]) {
    for (name, value) in variables {
        // What is so already was set before a driver was loaded.
        if std::env::var_os(name) == *value {
            continue;
        }
        // SAFETY: this program starts no thread, and the drivers, which may, are loaded after this.
        match value {
            Some(value) => unsafe { std::env::set_var(name, value) },
            None => unsafe { std::env::remove_var(name) },
        }
    }
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Every device that Vulkan offers; an error only where the loader is missing.
fn devices() -> Result<Vec<Adapter>, String> {
    // SAFETY: this runs the initialisers of libvulkan, a trusted system library.
    let entry = unsafe { ash::Entry::load() }.map_err(|e| e.to_string())?;
    // SAFETY: the structure is complete (all defaults) and outlives the call.
    let instance = unsafe { entry.create_instance(&ash::vk::InstanceCreateInfo::default(), None) };
    // Without any driver, making the instance is what fails.
    let Ok(instance) = instance else {
        return Ok(Vec::new());
    };
    // SAFETY: the instance is live, and its devices are used before it is destroyed.
    let adapters = unsafe {
        let devices = instance.enumerate_physical_devices().unwrap_or_default();
        let properties = devices.iter().map(|d| instance.get_physical_device_properties(*d));
        properties.map(|p| described(&p)).collect()
    };
    // SAFETY: nothing made from the instance is left.
    unsafe { instance.destroy_instance(None) };
    Ok(adapters)
}

fn described(properties: &ash::vk::PhysicalDeviceProperties) -> Adapter {
    use ash::vk::{PhysicalDeviceType as Type, api_version_major, api_version_minor};
    let name = properties.device_name_as_c_str();
    Adapter {
        name: name.map_or("unnamed".into(), |n| n.to_string_lossy().into_owned()),
        kind: match properties.device_type {
            Type::DISCRETE_GPU => Kind::Discrete,
            Type::INTEGRATED_GPU => Kind::Integrated,
            Type::VIRTUAL_GPU => Kind::Virtual,
            Type::CPU => Kind::Cpu,
            _ => Kind::Other,
        },
        version: Some((api_version_major(properties.api_version), api_version_minor(properties.api_version))),
    }
}

/// What EGL offers without a screen: its version and vendor, as wgpu's OpenGL backend would find it.
fn egl() -> Result<String, String> {
    type Display = *mut c_void;
    type GetPlatformDisplay = unsafe extern "C" fn(u32, *mut c_void, *const isize) -> Display;
    type Initialize = unsafe extern "C" fn(Display, *mut i32, *mut i32) -> u32;
    type QueryString = unsafe extern "C" fn(Display, i32) -> *const c_char;
    const SURFACELESS_MESA: u32 = 0x31dd;
    const VENDOR: i32 = 0x3053;

    // SAFETY: this runs the initialisers of libEGL, a trusted system library.
    let library = unsafe { libloading::Library::new("libEGL.so.1") }.map_err(|e| e.to_string())?;
    // SAFETY: the types are those of EGL 1.5, which has all three.
    let (display, initialize, query) = unsafe {
        (
            library.get::<GetPlatformDisplay>(b"eglGetPlatformDisplay\0").map_err(|e| e.to_string())?,
            library.get::<Initialize>(b"eglInitialize\0").map_err(|e| e.to_string())?,
            library.get::<QueryString>(b"eglQueryString\0").map_err(|e| e.to_string())?,
        )
    };
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the default display of the platform takes no attributes, and a display that is none is turned down.
    let vendor = unsafe {
        let display = display(SURFACELESS_MESA, std::ptr::null_mut(), std::ptr::null());
        if display.is_null() {
            Err("libEGL.so.1 knows no display without a screen".to_string())
        } else if initialize(display, &mut major, &mut minor) == 0 {
            Err("libEGL.so.1 loads, but no driver starts without a screen".to_string())
        } else {
            let vendor = query(display, VENDOR);
            let vendor = if vendor.is_null() { c"" } else { CStr::from_ptr(vendor) };
            Ok(vendor.to_string_lossy().into_owned())
        }
    };
    // It stays loaded, with its display: drivers were not made to be unloaded.
    std::mem::forget(library);
    vendor.map(|vendor| format!("EGL {major}.{minor} of {vendor}"))
}

/// Docker and Podman leave a file; Kubernetes and NVIDIA's runtime a variable.
fn in_container() -> bool {
    let files = ["/.dockerenv", "/run/.containerenv"];
    let variables = ["KUBERNETES_SERVICE_HOST", "NVIDIA_VISIBLE_DEVICES"];
    files.iter().any(|f| Path::new(f).exists()) || variables.iter().any(|v| std::env::var_os(v).is_some())
}

/// The entries of a folder that are called `prefix` and a number.
fn nodes(folder: &str, prefix: &str) -> Vec<PathBuf> {
    let numbered = |path: &PathBuf| {
        let number = path.file_name().and_then(|n| n.to_str()?.strip_prefix(prefix));
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut nodes: Vec<PathBuf> = fs::read_dir(folder)
        .map(|dir| dir.flatten().map(|entry| entry.path()).filter(numbered).collect())
        .unwrap_or_default();
    nodes.sort();
    nodes
}

/// The GPUs that the kernel knows, by their device nodes.
fn gpus(nvidia_nodes: Vec<PathBuf>) -> Vec<Gpu> {
    let gpu = |node: &Path, vendor| Gpu { node: node.display().to_string(), vendor, access: access(node) };
    let mut gpus: Vec<Gpu> = nvidia_nodes.iter().map(|node| gpu(node, Vendor::Nvidia)).collect();
    for node in nodes("/dev/dri", "renderD") {
        let device = Path::new("/sys/class/drm").join(node.file_name().unwrap_or_default()).join("device");
        let vendor = vendor(&read(device.join("vendor")), &read(device.join("uevent")));
        // The same GPU as /dev/nvidia0; NVIDIA's Vulkan driver opens that one.
        if nvidia_nodes.is_empty() || vendor != Vendor::Nvidia {
            gpus.push(gpu(&node, vendor));
        }
    }
    gpus
}

fn vendor(id: &str, uevent: &str) -> Vendor {
    let driver = uevent.lines().find_map(|l| l.strip_prefix("DRIVER=")).unwrap_or_default();
    match (id.trim(), driver) {
        ("0x1002", _) => Vendor::Amd,
        ("0x8086", _) => Vendor::Intel,
        ("0x10de", _) => Vendor::Nvidia,
        // virtio, VMware, Red Hat (QXL), QEMU, Microsoft, VirtualBox.
        ("0x1af4" | "0x15ad" | "0x1b36" | "0x1234" | "0x1414" | "0x80ee", _) | (_, "vgem" | "vkms") => Vendor::Virtual,
        _ => Vendor::Other(driver.to_string()),
    }
}

fn access(node: &Path) -> Access {
    // What a driver does with it first; it changes nothing.
    match fs::OpenOptions::new().read(true).write(true).open(node) {
        Ok(_) => Access::Open,
        Err(e) if e.raw_os_error() == Some(libc::EACCES) => {
            let (gid, mode) = fs::metadata(node).map(|m| (m.gid(), m.mode())).unwrap_or_default();
            // Nobody should be told to join the group `root`.
            if gid == 0 || mode & 0o060 != 0o060 {
                return Access::Root;
            }
            Access::Group(group_name(&read("/etc/group"), gid).ok_or(gid))
        }
        Err(e) => Access::Refused(e.to_string()),
    }
}

fn group_name(groups: &str, gid: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == gid.to_string()).then(|| name.to_string())
    })
}

fn nvidia(drivers: &[PathBuf]) -> Nvidia {
    // SAFETY: this runs the initialisers of NVIDIA's driver, which the Vulkan
    // loader would run as well. It stays loaded: it was not made to be unloaded.
    let library = unsafe { libloading::Library::new("libGLX_nvidia.so.0") };
    let is_nvidia = |path: &&PathBuf| path.to_string_lossy().contains("nvidia") || read(path).contains("libGLX_nvidia");
    let manifest = drivers.iter().any(|path| is_nvidia(&path));
    Nvidia { library: library.map(std::mem::forget).map_err(|e| e.to_string()), manifest }
}

/// The variables that choose drivers for the loader, where set.
fn driver_variables() -> Vec<(String, String)> {
    let names = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_LOADER_DRIVERS_SELECT", "VK_LOADER_DRIVERS_DISABLE"];
    let set = names.map(|name| {
        let value = std::env::var_os(name)?.to_string_lossy().into_owned();
        (!value.is_empty()).then(|| (name.to_string(), value))
    });
    set.into_iter().flatten().collect()
}

/// The drivers installed for the whole system, by their manifests.
fn driver_manifests() -> Vec<PathBuf> {
    let data = std::env::var("XDG_DATA_DIRS").unwrap_or_default();
    let mut roots: Vec<&str> = vec!["/etc", "/etc/xdg", "/usr/local/share", "/usr/share"];
    roots.push("/run/opengl-driver/share");
    roots.extend(data.split(':').filter(|d| !d.is_empty()));
    let mut found: Vec<PathBuf> = roots
        .iter()
        .filter_map(|root| fs::read_dir(Path::new(root).join("vulkan/icd.d")).ok())
        .flat_map(|dir| dir.flatten().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    found.sort();
    found.dedup();
    found
}

fn os_value(os_release: &str, key: &str) -> String {
    let line = os_release.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_default().trim_matches(['"', '\'']).to_string()
}

/// Not those that derive from it: their Chromium is a package.
fn is_ubuntu(os_release: &str) -> bool {
    os_value(os_release, "ID") == "ubuntu"
}

fn family(os_release: &str) -> Family {
    let value = |key: &str| os_value(os_release, key);
    // ID names the distribution, ID_LIKE those that it derives from, closest first.
    let (id, like) = (value("ID"), value("ID_LIKE"));
    let known = std::iter::once(id.as_str()).chain(like.split_whitespace()).find_map(|id| {
        Some(match id {
            "debian" | "ubuntu" => Family::Debian,
            "fedora" | "rhel" | "centos" => Family::Fedora,
            "arch" => Family::Arch,
            "alpine" => Family::Alpine,
            "nixos" => Family::NixOs,
            _ if id.contains("suse") => Family::Suse,
            _ => return None,
        })
    });
    known.unwrap_or_else(|| Family::Other(value("PRETTY_NAME")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_known_by_id_or_ancestor() {
        assert_eq!(family("NAME=\"Debian GNU/Linux\"\nID=debian\n"), Family::Debian);
        assert_eq!(family("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), Family::Debian);
        assert_eq!(family("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), Family::Fedora);
        assert_eq!(family("ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n"), Family::Suse);
        assert_eq!(family("ID=void\nPRETTY_NAME=\"Void Linux\"\n"), Family::Other("Void Linux".into()));
        assert_eq!(family(""), Family::Other(String::new()));
    }

    #[test]
    fn ubuntu_is_told_from_its_likes() {
        assert!(is_ubuntu("ID=ubuntu\nID_LIKE=debian\n"));
        assert!(!is_ubuntu("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!is_ubuntu("ID=debian\n"));
    }

    #[test]
    fn vendors_are_known_by_pci_id_or_kernel_driver() {
        assert_eq!(vendor("0x1002\n", "DRIVER=amdgpu\n"), Vendor::Amd);
        assert_eq!(vendor("0x8086\n", ""), Vendor::Intel);
        assert_eq!(vendor("0x1af4\n", ""), Vendor::Virtual);
        assert_eq!(vendor("", "DRIVER=vgem\n"), Vendor::Virtual);
        assert_eq!(vendor("", "MAJOR=1\nDRIVER=v3d\n"), Vendor::Other("v3d".into()));
    }

    #[test]
    fn a_group_is_found_by_its_number() {
        let groups = "root:x:0:\nvideo:x:44:ann\nrender:x:105:\n";
        assert_eq!(group_name(groups, 105).as_deref(), Some("render"));
        assert_eq!(group_name(groups, 10), None);
    }
}
