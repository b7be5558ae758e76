//! The cache service over real sockets: what its clients see, and [`RemoteCache`] as one of them.

// Clippy knows only functions marked #[test] as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use llmo_cache::memory::{MemoryCache, MemoryOptions};
use llmo_cache::remote::{RemoteCache, RemoteOptions, wire};
use llmo_config::Config;
use llmo_core::cache::Result;
use llmo_core::conformance::cache::{CacheSuite, check};
use llmo_core::{Cache, CacheError, CacheKey, CacheStats, Entry, PutOptions};
use llmo_server::http::{ServeOptions, layers, serve};
use llmo_server::services::cache::{self, router};
use reqwest::{Client, Method, StatusCode};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A running service; ends when dropped.
struct Service {
    address: SocketAddr,
    shutdown: CancellationToken,
}

impl Service {
    async fn over(cache: Arc<dyn Cache>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let app = layers::standard(router(cache));
        let serving = serve(listener, app, ServeOptions::default(), shutdown.clone());
        tokio::spawn(async move { serving.await.unwrap() });
        Self { address, shutdown }
    }

    async fn in_memory() -> Self {
        let mut options = MemoryOptions::default();
        options.max_entry_bytes = 1 << 20;
        Self::over(Arc::new(MemoryCache::new(options))).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A patient client, for a busy test machine.
    fn client(&self) -> RemoteCache {
        let mut options = RemoteOptions::default();
        options.timeout = Duration::from_secs(5);
        RemoteCache::new(&self.url(""), options).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A cache whose every operation gives this error, or never ends.
struct Failing(Option<CacheError>);

impl Failing {
    async fn fail<T>(&self) -> Result<T> {
        match &self.0 {
            Some(error) => Err(error.clone()),
            None => pending().await,
        }
    }
}

#[async_trait]
impl Cache for Failing {
    async fn get(&self, _: &CacheKey) -> Result<Option<Entry>> {
        self.fail().await
    }

    async fn put(&self, _: &CacheKey, _: Bytes, _: PutOptions) -> Result<()> {
        self.fail().await
    }

    async fn remove(&self, _: &CacheKey) -> Result<bool> {
        self.fail().await
    }

    async fn remove_tag(&self, _: &str) -> Result<u64> {
        self.fail().await
    }

    async fn clear(&self) -> Result<()> {
        self.fail().await
    }

    async fn stats(&self) -> Result<CacheStats> {
        self.fail().await
    }

    fn tier(&self) -> &'static str {
        "failing"
    }
}

fn key(name: &str) -> CacheKey {
    CacheKey::new(name).unwrap()
}

/// Waits until `condition` holds; panics with `what` after ten seconds.
async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < end, "waited ten seconds in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn code(response: reqwest::Response) -> String {
    response.json::<wire::ErrorBody>().await.unwrap().error.code
}

#[tokio::test]
async fn entries_travel_with_ttl_and_tags() {
    let service = Service::in_memory().await;
    let client = service.client();
    let options = PutOptions::ttl(Duration::from_secs(60)).tag("model:a").tag("with, comma ü");
    client.put(&key("k"), "value".into(), options).await.unwrap();
    let entry = client.get(&key("k")).await.unwrap().unwrap();
    assert_eq!(entry.value, "value");
    assert_eq!(entry.tags, ["model:a", "with, comma ü"]);
    let ttl = entry.ttl.unwrap();
    assert!(ttl <= Duration::from_secs(60) && ttl > Duration::from_secs(50), "{ttl:?}");
    assert_eq!(client.remove_tag("with, comma ü").await.unwrap(), 1);
    assert_eq!(client.get(&key("k")).await.unwrap(), None);
}

#[tokio::test]
async fn malformed_requests_are_400_with_a_reason() {
    let service = Service::in_memory().await;
    let http = Client::new();
    let long = format!("/v1/cache/{}", "x".repeat(257));
    for path in ["/v1/cache/a%20b", "/v1/cache/..%2Fx", "/v1/cache/.hidden", "/v1/cache/a%00", "/v1/cache/%ff", &long] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let response = http.request(method, service.url(path)).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
            assert_eq!(code(response).await, "invalid_request");
        }
    }
    for (header, value) in [(wire::TTL_HEADER, "soon"), (wire::TTL_HEADER, "-1"), (wire::TAGS_HEADER, "%zz")] {
        let response = http.put(service.url("/v1/cache/k")).header(header, value).body("x").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{header}: {value}");
    }
    for query in ["", "?all=false", "?all=maybe", "?tag=a&all=true", "?tags=a"] {
        let response = http.delete(service.url(&format!("/v1/cache{query}"))).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn an_unknown_key_is_404() {
    let service = Service::in_memory().await;
    let http = Client::new();
    for method in [Method::GET, Method::DELETE] {
        let response = http.request(method, service.url("/v1/cache/nobody")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(code(response).await, "not_found");
    }
}

#[tokio::test]
async fn an_entry_that_is_too_large_is_413_with_the_limit_and_the_next_request_is_fine() {
    let service = Service::in_memory().await;
    let http = Client::new();
    // Above the cache's own limit, and above what the service reads at all.
    for size in [2 << 20, 17 << 20] {
        let response = http.put(service.url("/v1/cache/k")).body(vec![0; size]).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE, "{size}");
        assert!(response.json::<wire::ErrorBody>().await.unwrap().error.limit.unwrap() < size as u64);
    }
    let error = service.client().put(&key("k"), vec![0; 2 << 20].into(), PutOptions::default()).await.unwrap_err();
    assert!(matches!(error, CacheError::TooLarge { size: 2_097_152, limit: 1_048_576 }), "{error:?}");
    assert_eq!(service.client().get(&key("k")).await.unwrap(), None);
}

#[tokio::test]
async fn a_backend_that_is_down_is_503_with_retry_after_and_the_service_not_ready() {
    let service = Service::over(Arc::new(Failing(Some(CacheError::Unavailable("redis://:secret@host".into()))))).await;
    let http = Client::new();
    for (method, path) in [
        (Method::GET, "/v1/cache/k"),
        (Method::PUT, "/v1/cache/k"),
        (Method::DELETE, "/v1/cache/k"),
        (Method::DELETE, "/v1/cache?tag=t"),
        (Method::GET, "/v1/cache-stats"),
    ] {
        let response = http.request(method, service.url(path)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(response.headers().contains_key("retry-after"), "{path}");
        let body = response.text().await.unwrap();
        assert!(!body.contains("secret"), "{body}");
    }
    let ready = http.get(service.url("/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.text().await.unwrap().contains("can't be reached"));
    assert_eq!(http.get(service.url("/livez")).send().await.unwrap().status(), StatusCode::OK);
    let error = service.client().get(&key("k")).await.unwrap_err();
    assert!(matches!(error, CacheError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn errors_of_the_backend_reach_the_client_as_what_they_are() {
    let timeout = Service::over(Arc::new(Failing(Some(CacheError::Timeout)))).await;
    assert!(matches!(timeout.client().get(&key("k")).await, Err(CacheError::Timeout)));
    let corrupt = Service::over(Arc::new(Failing(Some(CacheError::Corrupt("bits".into()))))).await;
    assert!(matches!(corrupt.client().get(&key("k")).await, Err(CacheError::Corrupt(_))));
}

#[tokio::test]
async fn a_service_in_order_is_ready_and_exports_its_counters() {
    let service = Service::in_memory().await;
    let client = service.client();
    client.put(&key("k"), "value".into(), PutOptions::default()).await.unwrap();
    client.get(&key("k")).await.unwrap();
    client.get(&key("other")).await.unwrap();
    let http = Client::new();
    assert_eq!(http.get(service.url("/readyz")).send().await.unwrap().status(), StatusCode::OK);
    let text = http.get(service.url("/metrics")).send().await.unwrap().text().await.unwrap();
    for line in ["hits_total{tier=\"memory\"} 1", "misses_total{tier=\"memory\"} 1", "entries{tier=\"memory\"} 1"] {
        assert!(text.contains(&format!("llmo_cache_{line}\n")), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn the_client_counts_its_own_and_tells_the_size_of_the_service() {
    let service = Service::in_memory().await;
    let (one, other) = (service.client(), service.client());
    one.put(&key("k"), "value".into(), PutOptions::default()).await.unwrap();
    other.get(&key("k")).await.unwrap();
    let (one, other) = (one.stats().await.unwrap(), other.stats().await.unwrap());
    assert_eq!((one.puts, one.hits, one.entries), (1, 0, 1));
    assert_eq!((other.puts, other.hits, other.entries), (0, 1, 1));
}

#[tokio::test]
async fn the_remote_cache_conforms() {
    let service = Service::in_memory().await;
    check(Arc::new(service.client()), CacheSuite::default().too_large((1 << 20) + 1)).await;
}

#[tokio::test]
async fn the_configured_service_listens_keeps_entries_and_ends_with_shutdown() {
    let mut config = Config::default();
    config.cache.port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    config.limits.drain_delay_ms = 0;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (config, shutdown) = (config.clone(), shutdown.clone());
        async move { cache::run(&config, shutdown).await }
    });
    let url = format!("http://{}:{}", config.cache.host, config.cache.port);
    let mut options = RemoteOptions::default();
    options.timeout = Duration::from_secs(5);
    let client = RemoteCache::new(&url, options).unwrap();
    eventually("the service listens", async || client.get(&key("k")).await.is_ok()).await;
    client.put(&key("k"), "value".into(), PutOptions::default()).await.unwrap();
    assert_eq!(client.get(&key("k")).await.unwrap().unwrap().value, "value");
    let text = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
    assert!(text.contains("http_route=\"/v1/cache/{key}\""), "{text}");
    shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(10), running).await;
    ended.expect("it ends in time").unwrap().unwrap();
}

#[tokio::test]
async fn clear_removes_everything() {
    let service = Service::in_memory().await;
    let client = service.client();
    client.put(&key("k"), "value".into(), PutOptions::default()).await.unwrap();
    client.clear().await.unwrap();
    assert_eq!(client.get(&key("k")).await.unwrap(), None);
}

/// The 99th percentile of reads that all fail.
async fn p99_of_failing_gets(cache: &RemoteCache) -> Duration {
    let mut times = Vec::new();
    for _ in 0..1000 {
        let start = Instant::now();
        assert!(cache.get(&key("k")).await.is_err());
        times.push(start.elapsed());
    }
    times.sort_unstable();
    times[990]
}

#[tokio::test]
async fn a_hung_service_costs_its_clients_no_more_than_the_timeout_and_soon_nothing() {
    let service = Service::over(Arc::new(Failing(None))).await;
    let cache = RemoteCache::new(&service.url(""), RemoteOptions::default()).unwrap();
    let p99 = p99_of_failing_gets(&cache).await;
    assert!(p99 <= Duration::from_millis(20), "{p99:?}");
    assert!(!cache.is_up());
}

#[tokio::test]
async fn a_service_that_comes_back_is_used_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut options = RemoteOptions::default();
    options.timeout = Duration::from_secs(1);
    let cache = RemoteCache::new(&format!("http://{address}"), options).unwrap();
    let p99 = p99_of_failing_gets(&cache).await;
    assert!(p99 <= Duration::from_millis(20), "{p99:?}");

    let listener = TcpListener::bind(address).await.unwrap();
    let app = router(Arc::new(MemoryCache::new(MemoryOptions::default())));
    let shutdown = CancellationToken::new();
    tokio::spawn(serve(listener, app, ServeOptions::default(), shutdown.clone()));
    eventually("the service is used again", async || cache.get(&key("k")).await.is_ok()).await;
    assert!(cache.is_up());
    shutdown.cancel();
}
