//! What a store in a directory does beyond the contract that all stores share.

#![allow(clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use llmo_core::conformance::store::{StoreSuite, check};
use llmo_core::store::{ByteStream, GetOptions, Store, StoreError, StorePath, StorePutOptions};
use llmo_store::local::LocalStore;
use support::{Outcome, contents, sha256, until};

fn path(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

fn bytes(data: &'static [u8]) -> ByteStream {
    futures::stream::once(std::future::ready(Ok(Bytes::from_static(data)))).boxed()
}

async fn put(store: &LocalStore, at: &str, data: &'static [u8]) -> llmo_core::store::Result<()> {
    store.put(&path(at), bytes(data), StorePutOptions::default()).await.map(drop)
}

async fn read(store: &LocalStore, at: &str) -> llmo_core::store::Result<Vec<u8>> {
    let pieces: Vec<Bytes> = store.get(&path(at), GetOptions::default()).await?.data.try_collect().await?;
    Ok(pieces.concat())
}

fn temporary(dir: &Path) -> usize {
    std::fs::read_dir(dir.join(".llmo/tmp")).unwrap().count()
}

#[tokio::test]
async fn it_keeps_the_contract_of_a_store() -> Outcome {
    let dir = tempfile::tempdir()?;
    check(Arc::new(LocalStore::open(dir.path()).await?), StoreSuite::default()).await;
    assert!(contents(dir.path()).is_empty(), "{:?}", contents(dir.path()));
    Ok(())
}

#[tokio::test]
async fn an_object_is_a_file_under_its_own_path_with_its_hash_recorded() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = LocalStore::open(dir.path()).await?;
    put(&store, "m/model.gguf", b"weights").await?;
    assert_eq!(std::fs::read(dir.path().join("m/model.gguf"))?, b"weights");
    let local = store.local_path(&path("m/model.gguf")).await?;
    assert_eq!(local, Some(dir.path().canonicalize()?.join("m/model.gguf")));
    let again = LocalStore::open(dir.path()).await?;
    assert_eq!(again.head(&path("m/model.gguf")).await?.sha256, Some(sha256(b"weights")));
    Ok(())
}

#[tokio::test]
async fn the_hash_of_a_file_that_somebody_else_changed_is_unknown() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = LocalStore::open(dir.path()).await?;
    put(&store, "x", b"one").await?;
    std::fs::write(dir.path().join("x"), b"other")?;
    let meta = store.head(&path("x")).await?;
    assert_eq!((meta.size, meta.sha256), (5, None));
    Ok(())
}

#[tokio::test]
async fn links_out_of_the_store_are_neither_followed_nor_listed() -> Outcome {
    let (dir, outside) = (tempfile::tempdir()?, tempfile::tempdir()?);
    std::fs::write(outside.path().join("secret"), "s")?;
    symlink(outside.path().join("secret"), dir.path().join("file"))?;
    symlink(outside.path(), dir.path().join("dir"))?;
    let store = LocalStore::open(dir.path()).await?;
    for at in ["file", "dir/secret"] {
        let outcome = read(&store, at).await;
        assert!(matches!(outcome, Err(StoreError::InvalidPath { .. })), "{at}: {outcome:?}");
        assert!(store.local_path(&path(at)).await.is_err());
        assert!(store.delete(&path(at)).await.is_err());
    }
    assert!(put(&store, "dir/new", b"x").await.is_err());
    assert!(put(&store, "dir/deeper/new", b"x").await.is_err());
    assert!(store.list(None).await?.is_empty());
    assert_eq!(std::fs::read_dir(outside.path())?.count(), 1);
    Ok(())
}

#[tokio::test]
async fn links_within_the_store_are_objects() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = LocalStore::open(dir.path()).await?;
    put(&store, "m/model.gguf", b"weights").await?;
    symlink("m/model.gguf", dir.path().join("same"))?;
    assert_eq!(read(&store, "same").await?, b"weights");
    Ok(())
}

#[tokio::test]
async fn a_dropped_put_leaves_nothing() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = LocalStore::open(dir.path()).await?;
    let endless = futures::stream::once(std::future::ready(Ok(Bytes::from(vec![0; 2 << 20]))));
    let endless = endless.chain(futures::stream::pending()).boxed();
    let putting = tokio::spawn({
        let store = store.clone();
        async move { store.put(&path("x"), endless, StorePutOptions::default()).await }
    });
    let begun = || {
        let files = std::fs::read_dir(dir.path().join(".llmo/tmp")).unwrap().flatten();
        files.into_iter().any(|file| file.metadata().is_ok_and(|meta| meta.len() == 2 << 20))
    };
    until("the put has begun", begun).await;
    putting.abort();
    assert!(putting.await.is_err());
    until("the temporary file is gone", || temporary(dir.path()) == 0).await;
    assert!(store.list(None).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn opening_sweeps_what_dead_writers_left_and_spares_what_is_being_written() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = LocalStore::open(dir.path()).await?;
    std::fs::write(dir.path().join(".llmo/tmp/left-by-a-crash"), "half")?;
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let slow = futures::stream::once(async { Ok(Bytes::from_static(b"first ")) });
    let slow = slow.chain(futures::stream::once(async move {
        let _ = receiver.await;
        Ok(Bytes::from_static(b"second"))
    }));
    let putting = tokio::spawn({
        let store = store.clone();
        async move { store.put(&path("x"), slow.boxed(), StorePutOptions::default()).await }
    });
    until("the put has begun", || temporary(dir.path()) == 2).await;
    let _another_process = LocalStore::open(dir.path()).await?;
    assert_eq!(temporary(dir.path()), 1);
    assert!(!dir.path().join(".llmo/tmp/left-by-a-crash").exists());
    sender.send(()).map_err(|()| "the put is gone")?;
    putting.await??;
    assert_eq!(read(&store, "x").await?, b"first second");
    Ok(())
}

#[tokio::test]
async fn a_file_and_a_directory_never_take_each_others_place() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = LocalStore::open(dir.path()).await?;
    put(&store, "a/b", b"x").await?;
    assert!(matches!(put(&store, "a", b"y").await, Err(StoreError::InvalidPath { .. })));
    assert!(matches!(put(&store, "a/b/c", b"y").await, Err(StoreError::InvalidPath { .. })));
    assert!(matches!(store.head(&path("a")).await, Err(StoreError::NotFound(_))));
    assert!(matches!(store.head(&path("a/b/c")).await, Err(StoreError::NotFound(_))));
    assert_eq!(read(&store, "a/b").await?, b"x");
    assert_eq!(temporary(dir.path()), 0);
    Ok(())
}

#[tokio::test]
async fn deleting_the_last_object_removes_its_directories_too() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = LocalStore::open(dir.path()).await?;
    put(&store, "a/b/c", b"x").await?;
    put(&store, "a/d", b"x").await?;
    store.delete(&path("a/b/c")).await?;
    assert!(!dir.path().join("a/b").exists() && dir.path().join("a").exists());
    store.delete(&path("a/d")).await?;
    assert!(!dir.path().join("a").exists() && !dir.path().join(".llmo/sha256/a").exists());
    assert!(contents(dir.path()).is_empty());
    Ok(())
}

#[tokio::test]
async fn an_object_replaced_while_it_is_read_is_read_to_its_own_end() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = LocalStore::open(dir.path()).await?;
    put(&store, "x", b"old old old").await?;
    let reading = store.get(&path("x"), GetOptions::default()).await?;
    put(&store, "x", b"new").await?;
    store.delete(&path("x")).await?;
    let pieces: Vec<Bytes> = reading.data.try_collect().await?;
    assert_eq!(pieces.concat(), b"old old old");
    Ok(())
}

#[tokio::test]
async fn concurrent_puts_of_one_path_leave_one_of_them_whole() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = LocalStore::open(dir.path()).await?;
    let contents: Vec<&'static [u8]> = vec![b"first", b"second one", b"the third one"];
    futures::future::try_join_all((0..30).map(|n| put(&store, "deep/er/x", contents[n % 3]))).await?;
    let found = read(&store, "deep/er/x").await?;
    assert!(contents.contains(&found.as_slice()));
    assert_eq!(store.head(&path("deep/er/x")).await?.sha256, Some(sha256(&found)));
    Ok(())
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_said_to_be_so() -> Outcome {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("file"), "x")?;
    let Err(error) = LocalStore::open(dir.path().join("file/store")).await else { return Err("opened".into()) };
    assert!(error.to_string().contains("opening the store"), "{error}");
    Ok(())
}
