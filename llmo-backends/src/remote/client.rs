//! The HTTP clients, and what comes back through them.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::uri::{PathAndQuery, Uri};
use http::{StatusCode, response};
use http_body::Body as _;
use llmo_core::model::{ModelError, Result};

use super::http1::{self, Peer};
use super::options::RemoteOptions;
use super::request::Post;
use super::transport::chain;

/// An error of either client.
pub(super) type Failure = Box<dyn Error + Send + Sync>;

/// Connections to one upstream, kept open between requests.
#[derive(Debug, Clone)]
pub(super) enum Client {
    /// `http://` without a proxy: services of one installation, and each request and each token passes here.
    Plain(Arc<Peer>),
    /// Anything else.
    Full { client: reqwest::Client, base: Uri },
}

/// Why there is no response.
#[derive(Debug)]
pub(super) struct NoResponse {
    pub(super) error: Failure,
    /// Nobody was there to talk to.
    pub(super) is_connect: bool,
}

/// Header fields that are being written. A value that no field can hold is only a label: the request goes without it.
pub(super) trait Labels {
    fn add(&mut self, name: &'static str, value: &str);
}

impl Labels for http1::Head {
    fn add(&mut self, name: &'static str, value: &str) {
        http1::Head::add(self, name, value);
    }
}

impl Labels for HeaderMap {
    fn add(&mut self, name: &'static str, value: &str) {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.insert(HeaderName::from_static(name), value);
        }
    }
}

impl Client {
    /// Connects lazily. `headers` go with every request.
    pub(super) fn new(base: &reqwest::Url, options: &RemoteOptions, mut headers: HeaderMap) -> Result<Self> {
        const AGENT: &str = concat!("llmo/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if base.scheme() == "http" && !options.system_proxy {
            let peer = Peer::new(base, &headers, options.connect_timeout, options.idle_connections);
            return Ok(Self::Plain(Arc::new(peer)));
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
        let client = client.build().map_err(|error| ModelError::Internal(chain(&error)))?;
        let base = base.as_str().parse().map_err(|error: http::uri::InvalidUri| {
            ModelError::invalid("base_url", format!("{:?}: {error}", base.as_str()))
        })?;
        Ok(Self::Full { client, base })
    }

    /// Posts JSON and waits for the head of an answer. Dropping the future closes the connection.
    pub(super) async fn post(
        &self,
        post: Post,
        label: impl FnOnce(&mut dyn Labels),
    ) -> std::result::Result<Response, NoResponse> {
        match self {
            Self::Plain(peer) => {
                let mut head = peer.head(post.path, post.body.len())?;
                label(&mut head);
                let http1::Response { status, fields, body } = peer.post(head, post.body).await?;
                Ok(Response { status, headers: Headers::Plain(fields), body: Body::Plain(body) })
            }
            Self::Full { client, base } => {
                let uri =
                    below(base, post.path).map_err(|error| NoResponse { error: error.into(), is_connect: false })?;
                let mut headers = HeaderMap::new();
                label(&mut headers);
                let answer = client.post(uri.to_string()).headers(headers).body(post.body).send().await;
                let response =
                    answer.map_err(|error| NoResponse { is_connect: error.is_connect(), error: error.into() })?;
                let (response::Parts { status, headers, .. }, body) = http::Response::from(response).into_parts();
                Ok(Response { status, headers: Headers::Full(headers), body: Body::Full(body) })
            }
        }
    }
}

impl From<http1::Error> for NoResponse {
    fn from(error: http1::Error) -> Self {
        Self { is_connect: error.is_connect(), error: error.into() }
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
    pub(super) headers: Headers,
    pub(super) body: Body,
}

/// The header fields of an answer.
#[derive(Debug)]
pub(super) enum Headers {
    Plain(http1::Fields),
    Full(HeaderMap),
}

/// Header fields that are being read.
pub(super) trait Fields {
    /// The first field of this name (in lower case), if it is ASCII.
    fn text(&self, name: &str) -> Option<&str>;
}

impl Fields for HeaderMap {
    fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str().ok()
    }
}

impl Fields for Headers {
    fn text(&self, name: &str) -> Option<&str> {
        match self {
            Self::Plain(fields) => fields.get(name),
            Self::Full(headers) => headers.text(name),
        }
    }
}

/// A body that is being read. Dropping it before its end closes the connection.
#[derive(Debug)]
pub(super) enum Body {
    Plain(http1::Body),
    Full(reqwest::Body),
}

impl Body {
    /// Gives the next bytes to `take`; `None` at the end of the body.
    pub(super) fn poll_data<R>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> R,
    ) -> Poll<std::result::Result<Option<R>, Failure>> {
        match self {
            Self::Plain(body) => body.poll_data(cx, take).map_err(Failure::from),
            Self::Full(body) => loop {
                let Some(frame) = ready!(Pin::new(&mut *body).poll_frame(cx)).transpose()? else {
                    return Poll::Ready(Ok(None));
                };
                // What is no data are trailers.
                if let Ok(data) = frame.into_data() {
                    return Poll::Ready(Ok(Some(take(&data))));
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
