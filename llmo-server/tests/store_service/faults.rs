//! Broken uploads, full disks, damaged objects, a store that is away.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use llmo_config::Config;
use llmo_core::store::{
    ByteStream, GetOptions, ObjectMeta, ObjectStream, Result, Store, StoreError, StorePath, StorePutOptions,
};
use llmo_store::remote::{RemoteStore, RemoteStoreOptions};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::service::{Outcome, Service, bytes, path, put, read, temporary_files, until};

/// A store that fails in one way.
#[derive(Clone, Copy, PartialEq)]
enum Broken {
    Full,
    Away,
    /// It has other bytes than it says.
    Damaged,
    /// It ends too early.
    Short,
}

#[async_trait]
impl Store for Broken {
    async fn get(&self, path: &StorePath, _: GetOptions) -> Result<ObjectStream> {
        let mut meta = ObjectMeta::new(path.clone(), 3, 0);
        meta.sha256 = Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into());
        let data = bytes(if *self == Self::Short { b"ab" } else { b"abd" });
        Ok(ObjectStream { meta, range: 0..3, data })
    }

    async fn put(&self, path: &StorePath, _: ByteStream, _: StorePutOptions) -> Result<ObjectMeta> {
        Err(StoreError::NoSpace(path.to_string()))
    }

    async fn head(&self, path: &StorePath) -> Result<ObjectMeta> {
        match self {
            Self::Away => Err(StoreError::Unavailable("gone".into())),
            _ => Err(StoreError::NotFound(path.to_string())),
        }
    }

    async fn list(&self, _: Option<&StorePath>) -> Result<Vec<ObjectMeta>> {
        Err(StoreError::Unavailable("gone".into()))
    }

    async fn delete(&self, path: &StorePath) -> Result<()> {
        Err(StoreError::NotFound(path.to_string()))
    }

    fn kind(&self) -> &'static str {
        "broken"
    }
}

#[tokio::test]
async fn other_bytes_than_promised_are_refused_and_not_stored() -> Outcome {
    let dir = tempfile::tempdir()?;
    let service = Service::over_directory(dir.path()).await;
    put(&service.client(), "x", b"old").await;
    let http = Client::new();
    let answer = http.put(service.object("x")).header("x-sha256", "0".repeat(64)).body("new").send().await?;
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.json::<Value>().await?["error"]["code"], "hash_mismatch");
    for (header, value) in [("x-sha256", "abc"), ("x-object-size", "-1"), ("x-object-size", "5")] {
        let answer = http.put(service.object("x")).header(header, value).body("new").send().await?;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{header}: {value}");
    }
    assert_eq!(read(&service.client(), "x", GetOptions::default()).await?, b"old");
    assert_eq!(temporary_files(dir.path()), 0);
    Ok(())
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() -> Outcome {
    let dir = tempfile::tempdir()?;
    let service = Service::over_directory(dir.path()).await;
    for head in ["content-length: 1000000\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let mut connection = TcpStream::connect(service.address).await?;
        connection.write_all(format!("PUT /v1/objects/x HTTP/1.1\r\nhost: x\r\n{head}").as_bytes()).await?;
        until("the upload has begun", || temporary_files(dir.path()) == 1).await;
        drop(connection);
        until("the upload is cleaned up", || temporary_files(dir.path()) == 0).await;
        assert!(service.client().head(&path("x")).await.is_err());
    }
    Ok(())
}

#[tokio::test]
async fn an_upload_whose_source_fails_reports_that_and_leaves_nothing() -> Outcome {
    let dir = tempfile::tempdir()?;
    let service = Service::over_directory(dir.path()).await;
    let pieces = [Ok(bytes::Bytes::from_static(b"half")), Err(StoreError::NotFound("the source".into()))];
    let outcome =
        service.client().put(&path("x"), futures::stream::iter(pieces).boxed(), StorePutOptions::default()).await;
    assert!(matches!(&outcome, Err(StoreError::NotFound(what)) if what == "the source"), "{outcome:?}");
    until("the upload is cleaned up", || temporary_files(dir.path()) == 0).await;
    assert!(service.client().list(None).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_stalled_upload_is_cut() -> Outcome {
    let dir = tempfile::tempdir()?;
    let mut config = Config::default();
    config.store.dir = dir.path().to_owned();
    config.store.port = free_port()?;
    config.limits.body_timeout_seconds = 1;
    let shutdown = CancellationToken::new();
    let port = config.store.port;
    let running = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { llmo_server::services::store::run(&config, shutdown).await }
    });
    let mut connection = connect(port).await?;
    connection.write_all(b"PUT /v1/objects/x HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf").await?;
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), connection.read_to_end(&mut answer)).await??;
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(temporary_files(dir.path()), 0);
    shutdown.cancel();
    running.await??;
    Ok(())
}

#[tokio::test]
async fn a_full_disk_is_507_and_no_space_again_at_the_client() -> Outcome {
    let service = Service::over(Arc::new(Broken::Full)).await;
    let answer = Client::new().put(service.object("x")).body("abc").send().await?;
    assert_eq!(answer.status(), StatusCode::INSUFFICIENT_STORAGE);
    let outcome = service.client().put(&path("x"), bytes(b"abc"), StorePutOptions::default()).await;
    assert!(matches!(outcome, Err(StoreError::NoSpace(_))), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn damaged_or_short_objects_are_errors_at_the_client() -> Outcome {
    let damaged = Service::over(Arc::new(Broken::Damaged)).await;
    let outcome = read(&damaged.client(), "x", GetOptions::default()).await;
    assert!(matches!(outcome, Err(StoreError::HashMismatch { .. })), "{outcome:?}");
    let short = Service::over(Arc::new(Broken::Short)).await;
    assert!(read(&short.client(), "x", GetOptions::default()).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_service_whose_store_is_away_is_alive_but_not_ready() -> Outcome {
    let service = Service::over(Arc::new(Broken::Away)).await;
    let status = async |path: &str| reqwest::get(format!("{}{path}", service.url)).await.map(|answer| answer.status());
    assert_eq!(status("/livez").await?, StatusCode::OK);
    assert_eq!(status("/readyz").await?, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status("/v1/objects").await?, StatusCode::SERVICE_UNAVAILABLE);
    Ok(())
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable_at_once() -> Outcome {
    let store = RemoteStore::new("http://127.0.0.1:1", &RemoteStoreOptions::default())?;
    assert!(matches!(store.head(&path("x")).await, Err(StoreError::Unavailable(_))));
    assert!(RemoteStore::new("ftp://127.0.0.1", &RemoteStoreOptions::default()).is_err());
    Ok(())
}

fn free_port() -> std::io::Result<u16> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr().map(|address| address.port())
}

async fn connect(port: u16) -> std::io::Result<TcpStream> {
    let start = tokio::time::Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(connection) => return Ok(connection),
            Err(error) if start.elapsed() > Duration::from_secs(20) => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
