//! A storage service on the loopback.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use llmo_core::store::{ByteStream, GetOptions, Store, StorePath, StorePutOptions};
use llmo_server::http::{ServeOptions, layers, serve};
use llmo_server::services::store::router;
use llmo_store::local::LocalStore;
use llmo_store::remote::{RemoteStore, RemoteStoreOptions};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// The service ends with it.
pub(crate) struct Service {
    pub(crate) url: String,
    pub(crate) address: std::net::SocketAddr,
    _shutdown: DropGuard,
}

impl Service {
    pub(crate) async fn over(store: Arc<dyn Store>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let app = layers::standard(router(store));
        tokio::spawn(serve(listener, app, ServeOptions::default(), shutdown.clone()));
        Self { url: format!("http://{address}"), address, _shutdown: shutdown.drop_guard() }
    }

    pub(crate) async fn over_directory(dir: &std::path::Path) -> Self {
        Self::over(Arc::new(LocalStore::open(dir).await.unwrap())).await
    }

    pub(crate) fn client(&self) -> RemoteStore {
        let mut options = RemoteStoreOptions::default();
        options.stall_timeout = Duration::from_secs(10);
        RemoteStore::new(&self.url, &options).unwrap()
    }

    pub(crate) fn object(&self, path: &str) -> String {
        format!("{}/v1/objects/{path}", self.url)
    }
}

pub(crate) fn path(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

pub(crate) fn bytes(data: &'static [u8]) -> ByteStream {
    futures::stream::once(std::future::ready(Ok(Bytes::from_static(data)))).boxed()
}

pub(crate) async fn put(store: &dyn Store, at: &str, data: &'static [u8]) {
    store.put(&path(at), bytes(data), StorePutOptions::default()).await.unwrap();
}

pub(crate) async fn read(store: &dyn Store, at: &str, options: GetOptions) -> llmo_core::store::Result<Vec<u8>> {
    let pieces: Vec<Bytes> = store.get(&path(at), options).await?.data.try_collect().await?;
    Ok(pieces.concat())
}

/// What lies in a store's directory for writes that are not finished.
pub(crate) fn temporary_files(dir: &std::path::Path) -> usize {
    std::fs::read_dir(dir.join(".llmo/tmp")).unwrap().count()
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = tokio::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
