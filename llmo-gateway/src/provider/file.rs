//! A file that is read again whenever it changes.
//!
//! It is looked at rather than subscribed to: that works on every file system, for a file that is replaced by renaming, and
//! for the links of a Kubernetes ConfigMap. A change holds once the file stood still for one look, so that a half-written
//! file is not taken for a whole one.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use llmo_config::{RouteConfig, UpstreamConfig};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{Desired, Provider, Reading, Reloaded, Sink, SourceLost};

/// Reads a file as what it wants, or says what is wrong with it.
pub type Read = dyn Fn() -> Result<Reading, String> + Send + Sync;

/// A watched file.
pub struct FileProvider {
    name: &'static str,
    path: PathBuf,
    interval: Duration,
    read: Arc<Read>,
    /// One reading at a time: what was read first is published first.
    turn: Mutex<()>,
}

/// What changes when a file does, and what it leads to if it is a link.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    target: Option<PathBuf>,
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl FileProvider {
    /// Watches `path`, and reads it with `read` at every change.
    #[must_use]
    pub fn new(name: &'static str, path: PathBuf, interval: Duration, read: Arc<Read>) -> Self {
        Self { name, path, interval: interval.max(Duration::from_millis(20)), read, turn: Mutex::default() }
    }

    /// Watches a file of `[[upstreams]]` and `[[routes]]`.
    #[must_use]
    pub fn of_lists(path: PathBuf, interval: Duration) -> Self {
        let read = {
            let path = path.clone();
            move || read_lists(&path).map(Reading::from)
        };
        Self::new("file", path, interval, Arc::new(read))
    }

    /// A refusal is logged and counted where it is made.
    async fn reread(&self, sink: &Sink) -> Result<Reloaded, String> {
        let _turn = self.turn.lock().await;
        let read = Arc::clone(&self.read);
        let read = tokio::task::spawn_blocking(move || read()).await;
        let read = read.unwrap_or_else(|_| Err(format!("{}: reading it failed", self.path.display())));
        let Reading { desired, changed, at_restart } = read.inspect_err(|problem| sink.refuse(problem.as_str()))?;
        let (replicas, routes) = (desired.targets.len(), desired.routes.len());
        let changed = sink.publish(desired)? || changed;
        Ok(Reloaded { changed, replicas, routes, at_restart })
    }
}

#[async_trait]
impl Provider for FileProvider {
    fn name(&self) -> &str {
        self.name
    }

    async fn watch(&self, sink: &Sink) -> Result<Infallible, SourceLost> {
        let mut seen = stamp(&self.path).await;
        // What went wrong has been told.
        let _ = self.reread(sink).await;
        let mut held = seen.clone();
        loop {
            tokio::time::sleep(self.interval).await;
            let now = stamp(&self.path).await;
            let stands_still = now == seen;
            seen = now;
            if stands_still && seen != held {
                held.clone_from(&seen);
                let _ = self.reread(sink).await;
            }
        }
    }

    async fn reload(&self, sink: &Sink) -> Option<Result<Reloaded, String>> {
        Some(self.reread(sink).await)
    }
}

async fn stamp(path: &Path) -> Option<Stamp> {
    let target = tokio::fs::canonicalize(path).await.ok();
    let metadata = tokio::fs::metadata(path).await.ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some(Stamp { target, modified: metadata.modified().ok(), bytes: metadata.len(), inode })
}

/// A file that has nothing but lists.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists {
    #[serde(default)]
    upstreams: Vec<UpstreamConfig>,
    #[serde(default)]
    routes: Vec<RouteConfig>,
}

fn read_lists(path: &Path) -> Result<Desired, String> {
    let wrong = |problem: String| format!("{}: {}", path.display(), problem.trim_end());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("it can't be read: {error}")))?;
    let lists: Lists = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    Desired::from_config(&lists.upstreams, &lists.routes).map_err(|error| wrong(error.to_string()))
}
