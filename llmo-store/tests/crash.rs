//! `kill -9` in the middle of a pull: nothing half is ever visible, and the next pull goes on.
//!
//! The pull runs in a process of its own: this test binary again, told what to do by the environment.

mod support;

use std::process::{Command, Stdio};
use std::sync::Arc;

use llmo_store::pull::{Silent, SourceKind};
use support::hub::{Fault, Hub};
use support::weights::gguf;
use support::{Outcome, catalogue_with_tiny, contents, options, puller, until};

const DIR: &str = "LLMO_TEST_CRASH_DIR";
const HUB: &str = "LLMO_TEST_CRASH_HUB";
/// Larger than a portion, so that the beginning is on disk while the rest is awaited.
const FLOATS: u64 = 1 << 20;

#[tokio::test]
async fn child_pulls_until_it_is_killed() -> Outcome {
    let (Ok(dir), Ok(hub)) = (std::env::var(DIR), std::env::var(HUB)) else { return Ok(()) };
    let mut options = options(&[SourceKind::Hub]);
    options.hub_endpoint = hub;
    options.stall_timeout = support::BOUND;
    let puller = puller(dir.as_ref(), catalogue_with_tiny(&gguf(FLOATS, 1)), options).await;
    puller.pull("tiny", Arc::new(Silent)).await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_pull_is_invisible_and_is_resumed_by_the_next() -> Outcome {
    let (dir, bytes) = (tempfile::tempdir()?, gguf(FLOATS, 1));
    let hub = Hub::start(&bytes, Fault::StallAfter(3 << 20)).await;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "child_pulls_until_it_is_killed"])
        .env(DIR, dir.path())
        .env(HUB, &hub.url)
        .stdout(Stdio::null())
        .spawn()?;
    let part = dir.path().join(".llmo/pulls/tiny/model.gguf.part");
    until("some of the file is on disk", || part.metadata().is_ok_and(|meta| meta.len() >= 1 << 20)).await;
    child.kill()?; // SIGKILL
    child.wait()?;

    let mut options = options(&[SourceKind::Hub]);
    options.hub_endpoint.clone_from(&hub.url);
    let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
    assert!(puller.library().list().await?.is_empty());
    let there = part.metadata()?.len();
    hub.set_fault(Fault::None);
    // The dead process does not hold the lock any more.
    tokio::time::timeout(support::BOUND, puller.pull("tiny", Arc::new(Silent))).await??;
    assert_eq!(hub.requests(), [None, Some(there)]);
    puller.library().verify("tiny", |_| {}).await?;
    assert_eq!(contents(dir.path()), ["tiny/manifest.json", "tiny/model.gguf"]);
    Ok(())
}
