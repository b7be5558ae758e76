//! Large objects in a store: written whole or not at all, checked by their hash, read in parts.
//!
//! `cargo run -p llmo-examples --no-default-features --example use_a_store`
//!
//! Here the store is a directory; S3 and llmo's storage service are behind the same trait.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use llmo_core::store::StorePutOptions;
use llmo_core::{GetOptions, Store, StoreError, StorePath};
use llmo_store::local::LocalStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let dir = std::env::temp_dir().join(format!("llmo-example-{}", std::process::id()));
    let store = LocalStore::open(&dir).await?;

    // A path can't lead out of the store: `../x`, `/x` and `a\0b` are no paths.
    let path = StorePath::new("adapters/poems/adapter.bin")?;
    let pieces = || stream::iter(["roses are red, ", "violets are blue"].map(|piece| Ok(Bytes::from(piece)))).boxed();
    let meta = store.put(&path, pieces(), StorePutOptions::default()).await?;
    println!("{}: {} bytes, sha256 {}", meta.path.as_str(), meta.size, meta.sha256.unwrap_or_default());

    // Whoever knows the hash can insist on it. Other bytes are refused, and the old object stays.
    let other = store.put(&path, pieces(), StorePutOptions::sha256("00".repeat(32))).await;
    assert!(matches!(other, Err(StoreError::HashMismatch { .. })));

    // Any range can be read: this is how downloads resume and headers are looked at.
    let object = store.get(&path, GetOptions::range(15, 7)).await?;
    let part: Vec<Bytes> = object.data.try_collect().await?;
    println!("{}", String::from_utf8_lossy(&part.concat()));

    for object in store.list(None).await? {
        println!("{} {}", object.size, object.path.as_str());
    }
    store.delete(&path).await?;
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
