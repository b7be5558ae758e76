//! What several tests need: tiny weights, a hub on the loopback, a Python that hands out wheels.
//!
//! Each test binary uses only a part of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod hub;
pub mod python;
pub mod weights;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use llmo_store::catalogue::Catalogue;
use llmo_store::local::LocalStore;
use llmo_store::pull::{PullOptions, Puller, SourceKind};
use sha2::{Digest, Sha256};

pub type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A bound for everything that is waited for.
pub const BOUND: Duration = Duration::from_secs(30);

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A catalogue with one more model, `tiny`, whose only file is `bytes`, at a hub and in a package.
pub fn catalogue_with_tiny(bytes: &[u8]) -> Arc<Catalogue> {
    let text = format!(
        r#"
        [[model]]
        id = "tiny"
        aliases = ["tiny:latest"]
        task = "generate"
        weights = "gguf"
        license = "MIT"
        file = [{{ name = "model.gguf", size = {}, sha256 = "{}" }}]
        [[model.source]]
        kind = "hub"
        repo = "somebody/tiny"
        files = {{ "model.gguf" = "tiny.Q4_1.gguf" }}
        [[model.source]]
        kind = "registry"
        package = "tiny-model"
        version = "1.0"
        prefix = "tiny_model/"
        "#,
        bytes.len(),
        sha256(bytes)
    );
    Arc::new(Catalogue::builtin().unwrap().with_additions(&text, "test").unwrap())
}

/// Options that reach nothing but what a test gives.
pub fn options(sources: &[SourceKind]) -> PullOptions {
    let mut options = PullOptions::default();
    options.sources = sources.to_vec();
    options.hub_endpoint = "http://127.0.0.1:1".to_owned();
    options.python = "/does/not/exist/python3".into();
    options.stall_timeout = Duration::from_millis(500);
    options
}

pub async fn puller(dir: &Path, catalogue: Arc<Catalogue>, options: PullOptions) -> Puller {
    Puller::new(LocalStore::open(dir).await.unwrap(), catalogue, options)
}

/// All files below `dir` that hold bytes of a model: objects, and what lies hidden.
pub fn files(dir: &Path) -> Vec<String> {
    fn visit(dir: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                visit(&entry.path(), root, found);
            } else {
                found.push(entry.path().strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    visit(dir, dir, &mut found);
    found.sort();
    found
}

/// What of [`files`] is neither a lock nor a recorded hash.
pub fn contents(dir: &Path) -> Vec<String> {
    let bookkeeping = |file: &String| file.starts_with(".llmo/locks/") || file.starts_with(".llmo/sha256/");
    files(dir).into_iter().filter(|file| !bookkeeping(file)).collect()
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = tokio::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < BOUND, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
