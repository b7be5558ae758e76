//! The HTTP clients, and what comes back through them.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use llmo_core::model::{ModelError, Result};

use super::options::RemoteOptions;
use super::transport::chain;

/// As reqwest and hyper have it too.
const IDLE: Duration = Duration::from_secs(90);
/// A host that is gone without a word is noticed while nothing is sent.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// An error of either client.
pub(super) type Failure = Box<dyn Error + Send + Sync>;

/// Connections to one upstream, kept open between requests.
#[derive(Debug, Clone)]
pub(super) enum Client {
    /// `http://` without a proxy: services of one installation. reqwest would translate each URL three times, and wrap each
    /// request in layers for redirects, proxies and cookies that are all off.
    Plain { pool: Box<Pool<HttpConnector, Full<Bytes>>>, headers: HeaderMap },
    /// Anything else.
    Full(reqwest::Client),
}

/// Why there is no response.
#[derive(Debug)]
pub(super) struct NoResponse {
    pub(super) error: Failure,
    /// Nobody was there to talk to.
    pub(super) is_connect: bool,
}

impl Client {
    /// Connects lazily. `headers` go with every request.
    pub(super) fn new(base: &reqwest::Url, options: &RemoteOptions, mut headers: HeaderMap) -> Result<Self> {
        const AGENT: &str = concat!("llmo/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if base.scheme() == "http" && !options.system_proxy {
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            connector.set_connect_timeout(Some(options.connect_timeout));
            connector.set_keepalive(Some(KEEPALIVE));
            let pool = Pool::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(options.idle_connections)
                .build(connector);
            return Ok(Self::Plain { pool: Box::new(pool), headers });
        }
        let mut client = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(options.connect_timeout)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(options.idle_connections)
            // A redirect would take prompts and keys to a host that nobody configured.
            .redirect(reqwest::redirect::Policy::none())
            .tls_danger_accept_invalid_certs(options.any_certificate);
        if !options.system_proxy {
            client = client.no_proxy();
        }
        client.build().map(Self::Full).map_err(|error| ModelError::Internal(chain(&error)))
    }

    /// Posts JSON and waits for the head of an answer. Dropping the future closes the connection.
    pub(super) async fn post(
        &self,
        base: &Uri,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> std::result::Result<Response, NoResponse> {
        let uri = below(base, path).map_err(|error| NoResponse { error: error.into(), is_connect: false })?;
        match self {
            Self::Plain { pool, headers: always } => {
                let mut request = Request::new(Full::new(body));
                *request.method_mut() = Method::POST;
                *request.uri_mut() = uri;
                *request.headers_mut() = headers;
                request.headers_mut().extend(always.iter().map(|(name, value)| (name.clone(), value.clone())));
                let answer = pool.request(request).await;
                let response =
                    answer.map_err(|error| NoResponse { is_connect: error.is_connect(), error: error.into() })?;
                let (head, body) = response.into_parts();
                Ok(Response { status: head.status, headers: head.headers, body: Body::Plain(body) })
            }
            Self::Full(client) => {
                let request = client.post(uri.to_string()).headers(headers).body(body);
                let answer = request.send().await;
                let mut response =
                    answer.map_err(|error| NoResponse { is_connect: error.is_connect(), error: error.into() })?;
                let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
                Ok(Response { status, headers, body: Body::Full(response) })
            }
        }
    }
}

/// One of our own paths, behind the root's.
fn below(base: &Uri, path: &str) -> std::result::Result<Uri, http::Error> {
    let mut parts = base.clone().into_parts();
    let root = base.path().trim_end_matches('/');
    parts.path_and_query = Some(match root {
        "" => PathAndQuery::try_from(path)?,
        _ => PathAndQuery::try_from(format!("{root}{path}"))?,
    });
    Ok(Uri::from_parts(parts)?)
}

/// The head of an answer, and what comes behind it.
#[derive(Debug)]
pub struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Plain(Incoming),
    Full(reqwest::Response),
}

impl Response {
    /// The next bytes; `None` at the end of the body.
    pub(super) async fn chunk(&mut self) -> std::result::Result<Option<Bytes>, Failure> {
        match &mut self.body {
            Body::Full(response) => Ok(response.chunk().await?),
            Body::Plain(body) => loop {
                let Some(frame) = body.frame().await.transpose()? else { return Ok(None) };
                // What is no data are trailers.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_behind_that_of_the_root() {
        for (base, expected) in [
            ("http://h:1", "http://h:1/v1/models"),
            ("http://h:1/", "http://h:1/v1/models"),
            ("http://[::1]:8080/llm/", "http://[::1]:8080/llm/v1/models"),
        ] {
            assert_eq!(below(&base.parse().unwrap(), "/v1/models").unwrap().to_string(), expected);
        }
    }
}
