//! The suite for stores.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::join_all;
use futures::{StreamExt, stream};

use super::wait::{in_time, ok, refused, until};
use crate::store::{ByteStream, GetOptions, ObjectMeta, Result, Store, StoreError, StorePath, StorePutOptions};

/// sha256 of `abc`, from the standard.
const ABC_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// What the suite has to know of the store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoreSuite {
    /// Longest wait for anything.
    pub patience: Duration,
    /// Size of the large object, in bytes.
    pub large: u64,
    /// Everything is put below this path; the suite leaves nothing there.
    pub folder: String,
}

impl Default for StoreSuite {
    fn default() -> Self {
        Self { patience: Duration::from_secs(60), large: 16 << 20, folder: "conformance".into() }
    }
}

/// Checks that a store keeps the trait's contract.
///
/// # Panics
/// If it doesn't.
pub async fn check(store: Arc<dyn Store>, options: StoreSuite) {
    let patience = options.patience;
    in_time("the whole suite", patience.saturating_mul(5), async {
        let subject = Subject { store: store.as_ref(), options };
        subject.an_object_is_there_from_put_to_delete().await;
        subject.an_object_may_be_empty().await;
        subject.ranges_are_cut_at_the_end().await;
        subject.what_is_not_there_is_not_found().await;
        subject.wrong_bytes_are_refused_and_leave_nothing().await;
        subject.a_failed_stream_leaves_nothing().await;
        subject.a_dropped_put_leaves_nothing().await;
        subject.a_refused_put_leaves_the_old_object().await;
        subject.readers_see_one_whole_object_or_the_other().await;
        subject.lists_are_ordered_and_prefixes_are_whole_segments().await;
        subject.a_large_object_is_streamed().await;
        assert_eq!(subject.listed("").await, [] as [String; 0], "the suite leaves nothing behind");
    })
    .await;
}

struct Subject<'a> {
    store: &'a dyn Store,
    options: StoreSuite,
}

impl Subject<'_> {
    fn path(&self, name: &str) -> StorePath {
        let path =
            if name.is_empty() { self.options.folder.clone() } else { format!("{}/{name}", self.options.folder) };
        ok("a path", StorePath::new(path))
    }

    async fn put(&self, name: &str, bytes: &[u8]) -> ObjectMeta {
        ok("put", self.store.put(&self.path(name), pieces(bytes, 3), StorePutOptions::default()).await)
    }

    async fn get(&self, name: &str, options: GetOptions) -> Result<Vec<u8>> {
        let object = self.store.get(&self.path(name), options).await?;
        let bytes = read(object.data).await?;
        assert_eq!(object.range.end - object.range.start, bytes.len() as u64, "the range says how much was read");
        Ok(bytes)
    }

    async fn delete(&self, name: &str) {
        ok("delete", self.store.delete(&self.path(name)).await);
    }

    /// Paths below the suite's folder, without it.
    async fn listed(&self, prefix: &str) -> Vec<String> {
        let below = self.path("").to_string() + "/";
        let all = ok("list", self.store.list(Some(&self.path(prefix))).await);
        all.iter().map(|meta| meta.path.as_str().trim_start_matches(&below).to_owned()).collect()
    }

    async fn assert_absent(&self, rule: &str, name: &str) {
        let error = refused(rule, self.store.head(&self.path(name)).await);
        assert!(matches!(error, StoreError::NotFound(_)), "{rule}: {error:?}");
        assert!(!self.listed("").await.contains(&name.to_owned()), "{rule}: it is listed");
        let error = refused(rule, self.get(name, GetOptions::default()).await);
        assert!(matches!(error, StoreError::NotFound(_)), "{rule}: {error:?}");
    }

    async fn an_object_is_there_from_put_to_delete(&self) {
        let rule = "an object is there from put to delete";
        let path = self.path("dir/a.bin");
        self.assert_absent(rule, "dir/a.bin").await;
        let put = StorePutOptions::sha256(ABC_SHA256.to_uppercase());
        let meta = ok(rule, self.store.put(&path, pieces(b"abc", 1), put).await);
        assert_eq!((meta.size, &meta.path), (3, &path), "{rule}: what put tells");
        let head = ok(rule, self.store.head(&path).await);
        assert_eq!((head.size, &head.path), (3, &path), "{rule}: what head tells");
        for known in [meta.sha256, head.sha256].into_iter().flatten() {
            assert_eq!(known, ABC_SHA256, "{rule}: the recorded hash, in lower case");
        }
        assert_eq!(ok(rule, self.get("dir/a.bin", GetOptions::default()).await), b"abc", "{rule}");
        self.put("dir/a.bin", b"replaced").await;
        assert_eq!(ok(rule, self.get("dir/a.bin", GetOptions::default()).await), b"replaced", "{rule}");
        assert_eq!(ok(rule, self.store.head(&path).await).size, 8, "{rule}: the size after replacing");
        if let Some(file) = ok(rule, self.store.local_path(&path).await) {
            assert!(file.is_file(), "{rule}: {} is the local file", file.display());
        }
        self.delete("dir/a.bin").await;
        self.assert_absent(rule, "dir/a.bin").await;
        assert_eq!(ok(rule, self.store.local_path(&path).await), None, "{rule}: no local file either");
    }

    async fn an_object_may_be_empty(&self) {
        let rule = "an object may be empty";
        assert_eq!(self.put("empty", b"").await.size, 0, "{rule}");
        assert_eq!(ok(rule, self.get("empty", GetOptions::default()).await), b"", "{rule}");
        assert_eq!(ok(rule, self.store.head(&self.path("empty")).await).size, 0, "{rule}");
        assert_eq!(self.listed("").await, ["empty"], "{rule}");
        self.delete("empty").await;
    }

    async fn ranges_are_cut_at_the_end(&self) {
        let rule = "a range is read, cut at the end";
        self.put("ten", b"0123456789").await;
        for (range, expected) in [
            (GetOptions::range(0, 1), "0"),
            (GetOptions::range(3, 4), "3456"),
            (GetOptions::from(7), "789"),
            (GetOptions::range(7, 100), "789"),
            (GetOptions::range(0, 10), "0123456789"),
            (GetOptions::range(9, u64::MAX), "9"),
        ] {
            let object = ok(rule, self.store.get(&self.path("ten"), range.clone()).await);
            assert_eq!(object.meta.size, 10, "{rule}: the size is that of the whole object");
            assert_eq!(object.range.start, range.offset, "{rule}: where the range begins");
            let bytes = ok(rule, read(object.data).await);
            assert_eq!(String::from_utf8_lossy(&bytes), expected, "{rule}: {range:?}");
        }
        for offset in [11, 1 << 40, u64::MAX] {
            let error = refused(rule, self.get("ten", GetOptions::from(offset)).await);
            assert!(matches!(error, StoreError::InvalidRange { size: 10, .. }), "{rule}: {error:?}");
        }
        self.delete("ten").await;
    }

    async fn what_is_not_there_is_not_found(&self) {
        let rule = "what is not there is not found";
        self.put("dir/file", b"x").await;
        for name in ["nothing", "dir/nothing", "dir"] {
            self.assert_absent(rule, name).await;
            let error = refused(rule, self.store.delete(&self.path(name)).await);
            assert!(matches!(error, StoreError::NotFound(_)), "{rule}: delete gave {error:?}");
        }
        self.delete("dir/file").await;
    }

    async fn wrong_bytes_are_refused_and_leave_nothing(&self) {
        let rule = "bytes with another hash are refused and leave nothing";
        let options = StorePutOptions::sha256(ABC_SHA256);
        let error = refused(rule, self.store.put(&self.path("wrong"), pieces(b"abd", 1), options).await);
        assert!(matches!(error, StoreError::HashMismatch { .. }), "{rule}: {error:?}");
        self.assert_absent(rule, "wrong").await;

        let rule = "bytes of another size are refused and leave nothing";
        for (bytes, expected) in [(b"abc".as_slice(), 4), (b"abc", 2), (b"", 1)] {
            let options = StorePutOptions { expected_size: Some(expected), ..StorePutOptions::default() };
            let error = refused(rule, self.store.put(&self.path("wrong"), pieces(bytes, 1), options).await);
            assert!(matches!(error, StoreError::SizeMismatch { .. }), "{rule}: {error:?}");
            self.assert_absent(rule, "wrong").await;
        }
    }

    async fn a_failed_stream_leaves_nothing(&self) {
        let rule = "a stream that fails is the put's error and leaves nothing";
        let broken = || Err(StoreError::Unavailable("the source broke".into()));
        for before in [0, 1, 100] {
            let data = stream::iter((0..before).map(|_| Ok(Bytes::from_static(b"piece"))).chain([broken()])).boxed();
            refused(rule, self.store.put(&self.path("failed"), data, StorePutOptions::default()).await);
            self.assert_absent(rule, "failed").await;
        }
    }

    async fn a_dropped_put_leaves_nothing(&self) {
        let rule = "a put that is dropped leaves nothing";
        let path = self.path("dropped");
        let endless = stream::iter([Ok(Bytes::from_static(b"piece"))]).chain(stream::pending()).boxed();
        let put = self.store.put(&path, endless, StorePutOptions::default());
        let waited = tokio::time::timeout(Duration::from_millis(50), put).await;
        assert!(waited.is_err(), "{rule}: the put ended before its data: {waited:?}");
        // A remote store learns of it a little later.
        until(rule, self.options.patience, async || self.listed("").await.is_empty()).await;
        self.assert_absent(rule, "dropped").await;
    }

    async fn a_refused_put_leaves_the_old_object(&self) {
        let rule = "a put that is refused leaves the old object as it was";
        self.put("kept", b"old").await;
        let options = StorePutOptions::sha256(ABC_SHA256);
        refused(rule, self.store.put(&self.path("kept"), pieces(b"new", 1), options).await);
        assert_eq!(ok(rule, self.get("kept", GetOptions::default()).await), b"old", "{rule}");
        assert_eq!(self.listed("").await, ["kept"], "{rule}: and nothing else");
        self.delete("kept").await;
    }

    async fn readers_see_one_whole_object_or_the_other(&self) {
        let rule = "readers see one whole object or the other";
        let versions = [vec![b'a'; 100_000], vec![b'b'; 50_000]];
        self.put("switched", &versions[0]).await;
        let write = async {
            for round in 0..10 {
                self.put("switched", &versions[(round + 1) % 2]).await;
            }
        };
        let readers = join_all((0..4).map(|_| async {
            for _ in 0..20 {
                let seen = ok(rule, self.get("switched", GetOptions::default()).await);
                assert!(versions.contains(&seen), "{rule}: {} bytes that are neither", seen.len());
            }
        }));
        futures::join!(write, readers);
        self.delete("switched").await;
    }

    async fn lists_are_ordered_and_prefixes_are_whole_segments(&self) {
        let rule = "lists are ordered by path and prefixes are whole segments";
        // In this order, '.' and '-' come before '/': sorting directory by directory would get it wrong.
        let names = ["a-b", "a.b/x", "a/b/c", "a/b/d.e", "a/bc", "a0", "b"];
        for name in names.iter().rev() {
            self.put(name, name.as_bytes()).await;
        }
        assert_eq!(self.listed("").await, names, "{rule}");
        assert_eq!(self.listed("a").await, ["a/b/c", "a/b/d.e", "a/bc"], "{rule}: below a");
        assert_eq!(self.listed("a/b").await, ["a/b/c", "a/b/d.e"], "{rule}: below a/b");
        assert_eq!(self.listed("a/b/c").await, ["a/b/c"], "{rule}: an object is below itself");
        assert_eq!(self.listed("nothing").await, [] as [&str; 0], "{rule}: below nothing");
        let everything = ok(rule, self.store.list(None).await);
        assert!(everything.is_sorted_by(|a, b| a.path < b.path), "{rule}: without a prefix");
        for name in names {
            let size = everything.iter().find(|meta| meta.path == self.path(name)).map(|meta| meta.size);
            assert_eq!(size, Some(name.len() as u64), "{rule}: the size of {name}");
            self.delete(name).await;
        }
    }

    async fn a_large_object_is_streamed(&self) {
        let rule = "a large object is streamed in pieces";
        let (size, piece) = (self.options.large, 64 << 10);
        let count = size.div_ceil(piece);
        let make = move |index: u64| {
            let length = piece.min(size - index * piece) as usize;
            Ok(Bytes::from(vec![(index % 251) as u8; length]))
        };
        let data = stream::iter((0..count).map(make)).boxed();
        let options = StorePutOptions { expected_size: Some(size), ..StorePutOptions::default() };
        assert_eq!(ok(rule, self.store.put(&self.path("large"), data, options).await).size, size, "{rule}");
        let mut object = ok(rule, self.store.get(&self.path("large"), GetOptions::default()).await);
        let (mut read, mut largest) = (0u64, 0);
        while let Some(bytes) = object.data.next().await {
            let bytes = ok(rule, bytes);
            for (offset, byte) in bytes.iter().enumerate().step_by(4099) {
                let index = (read + offset as u64) / piece;
                assert_eq!(*byte, (index % 251) as u8, "{rule}: the byte at {}", read + offset as u64);
            }
            read += bytes.len() as u64;
            largest = largest.max(bytes.len() as u64);
        }
        assert_eq!(read, size, "{rule}: bytes read");
        assert!(largest <= size / 2, "{rule}: a piece of {largest} bytes is not streaming");
        self.delete("large").await;
    }
}

/// The bytes as a stream of pieces.
fn pieces(bytes: &[u8], count: usize) -> ByteStream {
    let length = bytes.len().div_ceil(count).max(1);
    let pieces: Vec<Result<Bytes>> = bytes.chunks(length).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

async fn read(mut data: ByteStream) -> Result<Vec<u8>> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = data.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes.to_vec())
}
