//! A real S3 server, real signatures. `scripts/s3_test.sh` starts one and says where it is; without it there is nothing to
//! test here.
#![cfg(feature = "s3")]
#![allow(clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod support;

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use llmo_core::conformance::store::{StoreSuite, check};
use llmo_core::store::{ByteStream, GetOptions, Store, StoreError, StorePath, StorePutOptions};
use llmo_store::object::{ObjectStoreBackend, S3Options};
use support::{Outcome, sha256};

/// The bucket of the server that `LLMO_TEST_S3_ENDPOINT` names; its keys are in files that `AWS_*_FILE` name.
fn bucket(prefix: &str) -> Option<ObjectStoreBackend> {
    let mut options = S3Options::default();
    options.endpoint = Some(std::env::var("LLMO_TEST_S3_ENDPOINT").ok()?);
    options.bucket = "llmo".into();
    options.region = "us-east-1".into();
    options.prefix = Some(prefix.to_owned());
    Some(ObjectStoreBackend::s3(&options).unwrap())
}

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

#[tokio::test]
async fn a_bucket_keeps_the_contract_of_a_store() {
    if let Some(store) = bucket("conformance") {
        check(Arc::new(store), StoreSuite::default()).await;
    }
}

#[tokio::test]
async fn weights_go_in_parts_and_come_back_whole_and_in_ranges() -> Outcome {
    let Some(store) = bucket("large") else { return Ok(()) };
    let data = large();
    let meta = store.put(&path("m/model.gguf"), pieces(&data), StorePutOptions::sha256(sha256(&data))).await?;
    assert_eq!((meta.size, meta.sha256), (data.len() as u64, Some(sha256(&data))));
    // Another client than the one that wrote: what is known of an object is in the bucket.
    let other = bucket("large").unwrap();
    assert_eq!(other.head(&path("m/model.gguf")).await?.sha256, Some(sha256(&data)));
    assert_eq!(read(&other, "m/model.gguf", GetOptions::range(20_000_000, 7)).await?, data[20_000_000..20_000_007]);
    assert!(read(&other, "m/model.gguf", GetOptions::default()).await? == data);
    Ok(())
}

#[tokio::test]
async fn wrong_bytes_never_become_visible() -> Outcome {
    let Some(store) = bucket("wrong") else { return Ok(()) };
    store.put(&path("x"), pieces(b"old"), StorePutOptions::default()).await?;
    for new in [&large()[..], b"small"] {
        let outcome = store.put(&path("x"), pieces(new), StorePutOptions::sha256("0".repeat(64))).await;
        assert!(matches!(outcome, Err(StoreError::HashMismatch { .. })), "{outcome:?}");
    }
    assert_eq!(read(&store, "x", GetOptions::default()).await?, b"old");
    Ok(())
}

/// Run by the script with a key that is not the bucket's.
#[tokio::test]
#[ignore = "needs wrong keys: scripts/s3_test.sh"]
async fn wrong_keys_are_refused_as_such() -> Outcome {
    let Some(store) = bucket("keys") else { return Ok(()) };
    let outcome = store.put(&path("x"), pieces(b"x"), StorePutOptions::default()).await;
    assert!(matches!(outcome, Err(StoreError::Permission(_))), "{outcome:?}");
    Ok(())
}
