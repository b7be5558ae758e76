//! A client of llmo's storage service: a [`Store`] over HTTP.
//!
//! Bytes are streamed both ways, never held as a whole. What is read from the beginning to the end is checked against
//! the service's hash on the way: the last piece of a damaged object is an error. What is written is hashed here and
//! compared with what the service says it has.

mod answer;
mod upload;

use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use llmo_core::store::{
    ByteStream, GetOptions, ObjectMeta, ObjectStream, Result, Store, StoreError, StorePath, StorePutOptions,
};
use llmo_core::trace;
use reqwest::header::RANGE;
use reqwest::{Client, Method, RequestBuilder, Response};

use crate::digest::Summing;
use crate::protocol::{Listing, OBJECTS, X_SHA256};
use crate::stream_end::with_end;
use upload::Upload;

/// Objects behind a storage service.
#[derive(Debug, Clone)]
pub struct RemoteStore {
    client: Client,
    base: String,
}

/// How to talk to a storage service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteStoreOptions {
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the next bytes of an answer. Longer than the service needs to bring a large upload to disk.
    pub stall_timeout: Duration,
}

impl Default for RemoteStoreOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(3), stall_timeout: Duration::from_secs(60) }
    }
}

impl RemoteStore {
    /// The service at `base_url`, as in `http://127.0.0.1:8083`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if that is no URL of HTTP.
    pub fn new(base_url: &str, options: &RemoteStoreOptions) -> Result<Self> {
        let fault = |reason: String| StoreError::Unavailable(format!("{base_url:?} is no storage service: {reason}"));
        let url = reqwest::Url::parse(base_url).map_err(|e| fault(e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fault("its address must begin with http:// or https://".to_owned()));
        }
        let client = Client::builder()
            .user_agent(concat!("llmo/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.stall_timeout)
            // The service never redirects; whoever does is not the service.
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()
            .map_err(|e| fault(e.to_string()))?;
        Ok(Self { client, base: base_url.trim_end_matches('/').to_owned() })
    }

    fn request(&self, method: Method, path: &StorePath) -> RequestBuilder {
        // A StorePath has no character that a URL would have to escape.
        self.client.request(method, format!("{}{OBJECTS}/{path}", self.base))
    }

    async fn send(&self, request: RequestBuilder, about: &str) -> Result<Response> {
        // Its log and ours tell of the same request.
        let work = trace::current();
        let headers = work.iter().flat_map(|work| work.headers());
        let request = headers.fold(request, |request, (name, value)| request.header(name, value));
        let response = request.send().await.map_err(|e| answer::unavailable(&self.base, &e))?;
        if response.status().is_success() { Ok(response) } else { Err(answer::fault(response, about).await) }
    }
}

#[async_trait]
impl Store for RemoteStore {
    async fn get(&self, path: &StorePath, options: GetOptions) -> Result<ObjectStream> {
        let mut request = self.request(Method::GET, path);
        match options.length {
            // HTTP has no empty ranges.
            Some(0) => {
                let meta = self.head(path).await?;
                let range = crate::range::resolve(&options, meta.size)?;
                return Ok(ObjectStream { meta, range, data: futures::stream::empty().boxed() });
            }
            Some(length) => {
                let last = options.offset.saturating_add(length - 1);
                request = request.header(RANGE, format!("bytes={}-{last}", options.offset));
            }
            None if options.offset > 0 => request = request.header(RANGE, format!("bytes={}-", options.offset)),
            None => {}
        }
        let response = match self.send(request, path.as_str()).await {
            // Starting at the end is an empty range to a Store and no range at all to HTTP.
            Err(StoreError::InvalidRange { size, .. }) if size == options.offset => {
                let meta = self.head(path).await?;
                return Ok(ObjectStream { meta, range: size..size, data: futures::stream::empty().boxed() });
            }
            outcome => outcome?,
        };
        let meta = answer::meta(path, response.headers())?;
        let range = crate::range::resolve(&options, meta.size)?;
        let base = self.base.clone();
        let pieces = response.bytes_stream().map_err(move |e| answer::unavailable(&base, &e));
        let mut data = crate::range::exactly(pieces, range.end - range.start, path.to_string());
        if let (Some(expected), true) = (&meta.sha256, range == (0..meta.size)) {
            data = verified(data, path.to_string(), expected.clone());
        }
        Ok(ObjectStream { meta, range, data })
    }

    async fn put(&self, path: &StorePath, data: ByteStream, options: StorePutOptions) -> Result<ObjectMeta> {
        let (upload, body) = Upload::new(data);
        let mut request = self.request(Method::PUT, path).body(body);
        if let Some(expected) = &options.expected_sha256 {
            request = request.header(X_SHA256, expected);
        }
        if let Some(size) = options.expected_size {
            request = request.header(crate::protocol::X_SIZE, size);
        }
        let outcome = self.send(request, path.as_str()).await;
        // If the data itself failed, that is the reason, whatever became of the request.
        let sent = upload.outcome()?;
        let stored: ObjectMeta = answer::json(outcome?).await?;
        if let (Some(sent), Some(actual)) = (sent, &stored.sha256)
            && sent.sha256 != *actual
        {
            // Damaged on the way. Nobody must read it.
            self.delete(path).await?;
            let (path, expected, actual) = (path.to_string(), sent.sha256, actual.clone());
            return Err(StoreError::HashMismatch { path, expected, actual });
        }
        Ok(stored)
    }

    async fn head(&self, path: &StorePath) -> Result<ObjectMeta> {
        let response = self.send(self.request(Method::HEAD, path), path.as_str()).await?;
        answer::meta(path, response.headers())
    }

    async fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectMeta>> {
        let mut request = self.client.get(format!("{}{OBJECTS}", self.base));
        if let Some(prefix) = prefix {
            request = self.client.get(format!("{}{OBJECTS}?prefix={prefix}", self.base));
        }
        let listing: Listing = answer::json(self.send(request, "the list").await?).await?;
        Ok(listing.objects)
    }

    async fn delete(&self, path: &StorePath) -> Result<()> {
        self.send(self.request(Method::DELETE, path), path.as_str()).await.map(drop)
    }

    fn kind(&self) -> &'static str {
        "remote"
    }
}

/// Turns the end of a damaged object into an error.
fn verified(data: ByteStream, path: String, expected: String) -> ByteStream {
    let mut sum = Summing::default();
    with_end(data)
        .scan(false, move |failed, step| {
            let out = match step {
                Some(Ok(piece)) => {
                    sum.update(&piece);
                    Some(Some(Ok(piece)))
                }
                Some(Err(error)) => {
                    *failed = true;
                    Some(Some(Err(error)))
                }
                None if *failed => None,
                None => {
                    let options = StorePutOptions::sha256(expected.clone());
                    Some(std::mem::take(&mut sum).finish().check(&path, &options).err().map(Err))
                }
            };
            std::future::ready(out)
        })
        .filter_map(std::future::ready)
        .boxed()
}
