//! Stores of the crate `object_store` behind our trait.
#![allow(clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod support;

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use llmo_core::conformance::store::{StoreSuite, check};
use llmo_core::store::{ByteStream, GetOptions, Store, StoreError, StorePath, StorePutOptions};
use llmo_store::object::ObjectStoreBackend;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use support::{Outcome, sha256};

fn path(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

fn pieces(data: &[u8]) -> ByteStream {
    let pieces: Vec<_> = data.chunks(1 << 20).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    futures::stream::iter(pieces).boxed()
}

async fn read(store: &dyn Store, at: &str, options: GetOptions) -> llmo_core::store::Result<Vec<u8>> {
    let pieces: Vec<Bytes> = store.get(&path(at), options).await?.data.try_collect().await?;
    Ok(pieces.concat())
}

/// Larger than a part, not a multiple of one.
fn large() -> Vec<u8> {
    (0..35_000_001u32).map(|n| (n % 251) as u8).collect()
}

fn both(dir: &std::path::Path) -> Vec<(Arc<dyn ObjectStore>, &'static str)> {
    vec![
        (Arc::new(InMemory::new()), "memory"),
        (Arc::new(LocalFileSystem::new_with_prefix(dir).unwrap()), "file system"),
    ]
}

#[tokio::test]
async fn they_keep_the_contract_of_a_store() -> Outcome {
    let dir = tempfile::tempdir()?;
    for (inner, kind) in both(dir.path()) {
        check(Arc::new(ObjectStoreBackend::new(inner, kind)), StoreSuite::default()).await;
    }
    Ok(())
}

#[tokio::test]
async fn large_objects_go_in_parts_and_come_back_whole_and_in_ranges() -> Outcome {
    let (dir, data) = (tempfile::tempdir()?, large());
    for (inner, kind) in both(dir.path()) {
        let store = ObjectStoreBackend::new(inner, kind);
        let meta = store.put(&path("m/model.gguf"), pieces(&data), StorePutOptions::sha256(sha256(&data))).await?;
        assert_eq!((meta.size, meta.sha256), (data.len() as u64, Some(sha256(&data))), "{kind}");
        assert_eq!(read(&store, "m/model.gguf", GetOptions::range(20_000_000, 7)).await?, data[20_000_000..20_000_007]);
        assert!(read(&store, "m/model.gguf", GetOptions::default()).await? == data, "{kind}");
        assert_eq!(store.list(None).await?.len(), 1, "{kind}: records are no objects");
    }
    Ok(())
}

#[tokio::test]
async fn wrong_bytes_never_become_visible_and_no_parts_stay() -> Outcome {
    let (dir, data) = (tempfile::tempdir()?, large());
    for (inner, kind) in both(dir.path()) {
        let store = ObjectStoreBackend::new(inner.clone(), kind);
        store.put(&path("x"), pieces(b"old"), StorePutOptions::default()).await?;
        for new in [&data[..], b"small"] {
            let outcome = store.put(&path("x"), pieces(new), StorePutOptions::sha256("0".repeat(64))).await;
            assert!(matches!(outcome, Err(StoreError::HashMismatch { .. })), "{kind}: {outcome:?}");
        }
        let broken =
            pieces(&data[..20 << 20]).chain(futures::stream::once(async { Err(StoreError::Unavailable("?".into())) }));
        assert!(store.put(&path("x"), broken.boxed(), StorePutOptions::default()).await.is_err());
        assert_eq!(read(&store, "x", GetOptions::default()).await?, b"old", "{kind}");
    }
    support::until("broken uploads are aborted", || support::files(dir.path()).iter().all(|file| !file.contains('#')))
        .await;
    Ok(())
}

#[tokio::test]
async fn the_hash_of_an_object_replaced_behind_our_back_is_unknown() -> Outcome {
    let dir = tempfile::tempdir()?;
    for (inner, kind) in both(dir.path()) {
        let store = ObjectStoreBackend::new(inner.clone(), kind);
        store.put(&path("x"), pieces(b"one"), StorePutOptions::default()).await?;
        assert!(store.head(&path("x")).await?.sha256.is_some(), "{kind}");
        inner.put(&"x".into(), PutPayload::from_static(b"other")).await?;
        assert_eq!(store.head(&path("x")).await?.sha256, None, "{kind}");
    }
    Ok(())
}
