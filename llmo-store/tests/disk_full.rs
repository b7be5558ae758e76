//! A disk that is full in the middle of a write.
//!
//! The writing runs in a process of its own that has a file system of one megabyte (in a mount namespace), or, where
//! that isn't allowed, a limit on the size of files, which the kernel reports in the same place.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use llmo_core::store::{Store, StoreError, StorePath, StorePutOptions};
use llmo_store::ModelsError;
use llmo_store::local::LocalStore;
use llmo_store::pull::{Silent, SourceKind};
use support::hub::{Fault, Hub};
use support::weights::gguf;
use support::{Outcome, catalogue_with_tiny, contents, options, puller};

const DIR: &str = "LLMO_TEST_FULL_DIR";

#[tokio::test]
async fn child_writes_to_a_full_disk() -> Outcome {
    let Ok(dir) = std::env::var(DIR) else { return Ok(()) };
    let dir = Path::new(&dir);
    let store = LocalStore::open(dir).await?;
    let small = futures::stream::once(async { Ok(Bytes::from_static(b"small")) }).boxed();
    store.put(&StorePath::new("small")?, small, StorePutOptions::default()).await?;

    let much = futures::stream::iter((0..4).map(|_| Ok(Bytes::from(vec![1; 1 << 20])))).boxed();
    let outcome = store.put(&StorePath::new("large")?, much, StorePutOptions::default()).await;
    assert!(matches!(outcome, Err(StoreError::NoSpace(_))), "{outcome:?}");
    assert_eq!(contents(dir), ["small"], "the temporary file is gone");

    let bytes = gguf(1 << 20, 1);
    let hub = Hub::start(&bytes, Fault::None).await;
    let mut options = options(&[SourceKind::Hub, SourceKind::Registry]);
    options.hub_endpoint.clone_from(&hub.url);
    let puller = puller(dir, catalogue_with_tiny(&bytes), options).await;
    let outcome = puller.pull("tiny", Arc::new(Silent)).await;
    assert!(matches!(outcome, Err(ModelsError::Store(StoreError::NoSpace(_)))), "{outcome:?}");
    assert_eq!(contents(dir), ["small"], "the part is gone");

    let again = futures::stream::once(async { Ok(Bytes::from_static(b"again")) }).boxed();
    store.put(&StorePath::new("again")?, again, StorePutOptions::default()).await?;
    println!("the child has seen a full disk");
    Ok(())
}

#[test]
fn a_full_disk_is_reported_as_that_and_nothing_half_stays() -> Outcome {
    let dir = tempfile::tempdir()?;
    let on_small_disk = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg("mount -t tmpfs -o size=1m tmpfs \"$0\" && exec \"$@\"")
        .arg(dir.path())
        .args(["true"])
        .stderr(Stdio::null())
        .status();
    let (program, before): (&str, &[&str]) = if on_small_disk.is_ok_and(|status| status.success()) {
        let script = "mount -t tmpfs -o size=1m tmpfs \"$0\" && exec \"$@\"";
        ("unshare", &["--user", "--map-root-user", "--mount", "sh", "-c", script])
    } else {
        // Blocks of 512 bytes; the signal that would end the process is ignored, so that write() fails instead.
        ("sh", &["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$@\""])
    };
    let output = Command::new(program)
        .args(before)
        .arg(dir.path())
        .arg(std::env::current_exe()?)
        .args(["--exact", "child_writes_to_a_full_disk", "--nocapture"])
        .env(DIR, dir.path())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("the child has seen a full disk"), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
