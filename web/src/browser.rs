//! Chromium, without a window.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::Result;

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// The one that is named, or the first in `PATH`.
pub fn find(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(named) = named {
        // In full, or a bare name would be looked for in `PATH`; and as it is, since a link's name can matter.
        let path = std::path::absolute(named)?;
        return if path.is_file() {
            Ok(path)
        } else {
            Err(format!("--browser is {}, where there is no file", named.display()).into())
        };
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut all = std::env::split_paths(&folders).flat_map(|folder| NAMES.map(|name| folder.join(name)));
    all.find(|path| path.is_file()).ok_or_else(|| {
        format!(
            "none of {} is in PATH: on Debian `apt-get install chromium` brings one; --browser names another",
            NAMES.join(", ")
        )
        .into()
    })
}

/// A browser that ends with this.
pub struct Opened {
    process: Child,
    profile: TempDir,
}

impl Opened {
    pub fn new(browser: &Path, address: &str) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let process = Command::new(browser)
            // It opens no page but ours; root has no sandbox.
            .args(["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(address)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", browser.display()))?;
        Ok(Self { process, profile })
    }

    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        // Its other processes end a little later, and write until then.
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(100));
            let _ = fs::remove_dir_all(self.profile.path());
        }
    }
}
