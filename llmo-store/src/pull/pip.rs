//! Asking `pip` for a wheel: it knows the registry, the proxy and the certificates of this machine; we need not.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::source::SourceError;
use crate::local::io_fault;

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A wheel that is wanted.
pub(super) struct Pip<'a> {
    pub(super) python: &'a Path,
    pub(super) package: &'a str,
    pub(super) version: &'a str,
    /// Longest time without a single new byte.
    pub(super) stall_timeout: Duration,
}

impl Pip<'_> {
    /// Downloads the wheel into `dir`, which is ours alone. `downloaded` is told the bytes so far.
    ///
    /// Only wheels: to look at a source package, pip would run its code.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] with pip's own last words; [`SourceError::Fatal`] if the disk is full.
    pub(super) async fn download(&self, dir: &Path, downloaded: impl Fn(u64)) -> Result<PathBuf, SourceError> {
        let child = Command::new(self.python)
            .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"])
            .args(["--no-input", "--disable-pip-version-check", "--progress-bar=off", "--retries=2"])
            .arg("--dest")
            .arg(dir)
            .arg(format!("{}=={}", self.package, self.version))
            // pip writes to a temporary file first; on another file system there may be no room for it.
            .env("TMPDIR", dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.not_started(&error))?;
        let output = self.watch(child.wait_with_output(), dir, downloaded).await?;
        if !output.status.success() {
            return Err(self.failed(&output));
        }
        wheel_in(dir).ok_or_else(|| SourceError::unusable("pip said nothing, but there is no wheel"))
    }

    async fn watch(
        &self,
        done: impl Future<Output = std::io::Result<Output>>,
        dir: &Path,
        downloaded: impl Fn(u64),
    ) -> Result<Output, SourceError> {
        let mut done = std::pin::pin!(done);
        let (mut bytes, mut since) = (0, tokio::time::Instant::now());
        loop {
            if let Ok(output) = tokio::time::timeout(LOOK_EVERY, &mut done).await {
                return output.map_err(|e| SourceError::Fatal(io_fault("waiting for pip", e)));
            }
            let now = size_of(dir);
            if now != bytes {
                (bytes, since) = (now, tokio::time::Instant::now());
                downloaded(bytes);
            } else if since.elapsed() > self.stall_timeout {
                // Dropping the future kills pip.
                let seconds = self.stall_timeout.as_secs();
                return Err(SourceError::unusable(format!("pip received nothing for {seconds} seconds")));
            }
        }
    }

    fn not_started(&self, error: &std::io::Error) -> SourceError {
        let python = self.python.display();
        SourceError::with_remedy(format!("{python} does not start: {error}"), INSTALL)
    }

    fn failed(&self, output: &Output) -> SourceError {
        let text = String::from_utf8_lossy(&output.stderr);
        if text.contains("No module named pip") {
            return SourceError::with_remedy("pip is missing", INSTALL);
        }
        if text.contains("No space left on device") || text.contains("[Errno 28]") {
            return SourceError::Fatal(llmo_core::store::StoreError::NoSpace(format!("the package {}", self.package)));
        }
        if text.contains("Failed to establish a new connection") || text.contains("Name or service not known") {
            return SourceError::with_remedy(
                "pip can't reach the package registry",
                "set pip up for a registry that this machine can reach (`pip config set global.index-url URL`)",
            );
        }
        let words = text.lines().rfind(|line| line.starts_with("ERROR:")).or_else(|| text.lines().last());
        SourceError::unusable(format!("pip failed: {}", words.unwrap_or("it did not say why").trim()))
    }
}

const INSTALL: &str = "install pip (Debian: `apt-get install python3-pip`)";

fn wheel_in(dir: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|ending| ending == "whl"))
}

/// Bytes of all files below `dir`: pip tells no progress, its files do.
fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.file_type().ok()?, entry.metadata().ok()?)))
        .map(|(path, kind, meta)| if kind.is_dir() { size_of(&path) } else { meta.len() })
        .sum()
}
