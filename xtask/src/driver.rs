//! The drivers that `cargo xtask test --driver` names, and what the tests are told of them.

use std::ffi::OsString;
use std::path::Path;

/// What the tests run on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Driver {
    /// The best Vulkan adapter, whatever it is.
    AtHand,
    /// The Vulkan driver in software that comes with Chromium.
    SwiftShader,
    /// wgpu's OpenGL backend, on Mesa's software renderer.
    Gl,
}

impl Driver {
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            "swiftshader" => Ok(Self::SwiftShader),
            "gl" => Ok(Self::Gl),
            _ => Err(format!("`{name}` is no driver that --driver knows: it is `swiftshader` or `gl`.")),
        }
    }

    /// What the environment has to say for this driver to be the one: a value, or nothing at all.
    /// `manifest` is SwiftShader's.
    // Elsewhere only the tests use it.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    pub fn environment(self, manifest: Option<&Path>) -> Vec<(&'static str, Option<OsString>)> {
        // Anything that would choose another adapter among those offered.
        let mut variables = vec![("WGPU_ADAPTER_NAME", None), ("WGPU_POWER_PREF", None)];
        let text = |value: &str| Some(OsString::from(value));
        match (self, manifest) {
            (Self::AtHand, _) => return Vec::new(),
            (Self::SwiftShader, Some(manifest)) => {
                variables.push(("WGPU_BACKEND", text("vulkan")));
                // The name since loader 1.3.207, and the one before it.
                for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
                    variables.push((name, Some(manifest.into())));
                }
                for name in ["VK_ADD_DRIVER_FILES", "VK_LOADER_DRIVERS_SELECT", "VK_LOADER_DRIVERS_DISABLE"] {
                    variables.push((name, None));
                }
            }
            // Without it there is nothing to run on yet.
            (Self::SwiftShader, None) => return Vec::new(),
            (Self::Gl, _) => {
                variables.push(("WGPU_BACKEND", text("gl")));
                // llvmpipe, even where a GPU is.
                variables.push(("LIBGL_ALWAYS_SOFTWARE", text("1")));
                variables.push(("GALLIUM_DRIVER", None));
                // wgpu-hal panics (EGL_BAD_ACCESS) where two threads make an instance each, as the examples do.
                variables.push(("RUST_TEST_THREADS", text("1")));
            }
        }
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_known_by_name() {
        assert_eq!(Driver::parse("swiftshader"), Ok(Driver::SwiftShader));
        assert_eq!(Driver::parse("gl"), Ok(Driver::Gl));
        for name in ["", "SwiftShader", "lavapipe"] {
            let sentence = Driver::parse(name).unwrap_err();
            assert!(
                sentence.contains(&format!("`{name}`")) && sentence.contains("`swiftshader` or `gl`"),
                "{sentence}"
            );
        }
    }

    fn value(variables: &[(&str, Option<OsString>)], name: &str) -> Option<String> {
        let (_, value) = variables.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("{name} is left alone"));
        value.as_ref().map(|v| v.to_str().unwrap().to_string())
    }

    #[test]
    fn the_driver_at_hand_leaves_the_environment_alone() {
        assert!(Driver::AtHand.environment(None).is_empty());
        assert!(Driver::SwiftShader.environment(None).is_empty());
    }

    #[test]
    fn a_named_driver_has_the_last_word() {
        let variables = Driver::SwiftShader.environment(Some(Path::new("/a/vk_swiftshader_icd.json")));
        for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
            assert_eq!(value(&variables, name).as_deref(), Some("/a/vk_swiftshader_icd.json"));
        }
        assert_eq!(value(&variables, "WGPU_BACKEND").as_deref(), Some("vulkan"));
        for name in ["VK_ADD_DRIVER_FILES", "VK_LOADER_DRIVERS_SELECT", "WGPU_ADAPTER_NAME"] {
            assert_eq!(value(&variables, name), None);
        }
        let variables = Driver::Gl.environment(None);
        assert_eq!(value(&variables, "WGPU_BACKEND").as_deref(), Some("gl"));
        for name in ["LIBGL_ALWAYS_SOFTWARE", "RUST_TEST_THREADS"] {
            assert_eq!(value(&variables, name).as_deref(), Some("1"));
        }
        assert_eq!(value(&variables, "WGPU_ADAPTER_NAME"), None);
    }
}
