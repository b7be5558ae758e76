//! The HTTP client of one upstream.

use std::error::Error;
use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use llmo_core::model::request::CacheUse;
use llmo_core::model::{ModelError, Result};
use llmo_core::trace;
use reqwest::Url;

use super::client::{Client, Fields, Labels, NoResponse, Response};
use super::errors::WireError;
use super::options::RemoteOptions;
use super::request::Post;

/// How the reason of [`ModelError::Unavailable`] begins if there was nobody to talk to, and not somebody who said no.
pub const NO_CONNECTION: &str = "no connection to ";
/// Largest error body that is read, in bytes.
const MAX_ERROR_BODY: usize = 64 << 10;
/// Longest wait that an upstream can impose.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Who asks, and how long they wait: what goes into headers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller<'a> {
    /// `x-request-id`
    pub request_id: Option<&'a str>,
    /// `x-llmo-tenant`
    pub tenant: Option<&'a str>,
    /// `x-llmo-deadline-ms`
    pub remaining: Option<Duration>,
    /// `x-llmo-priority`
    pub priority: i8,
    /// `cache-control`
    pub cache: CacheUse,
    /// `traceparent`
    pub traceparent: Option<&'a str>,
    /// `tracestate`
    pub tracestate: Option<&'a str>,
}

/// Connections to one upstream, kept open between requests.
#[derive(Debug, Clone)]
pub struct Transport {
    client: Client,
    base: String,
    /// Send our own headers?
    extensions: bool,
}

impl Transport {
    /// Connects lazily. `base_url` is the root of the service or its `/v1`; both are taken.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] for a URL or key that can't be used, [`ModelError::Internal`] if TLS can't be
    /// set up.
    pub fn new(base_url: &str, options: &RemoteOptions) -> Result<Self> {
        let base = base_url.trim_end_matches('/');
        let base = base.strip_suffix("/v1").unwrap_or(base);
        let refused = |why: String| ModelError::invalid("base_url", format!("{base:?}: {why}"));
        let mut url = Url::parse(base).map_err(|error| refused(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ModelError::invalid("base_url", format!("{base:?} must begin with http:// or https://")));
        }
        let login = take_login(&mut url);
        let base = url.as_str().trim_end_matches('/').to_owned();
        let mut headers = HeaderMap::new();
        if let Some(credentials) = options.api_key.as_ref().map(|key| format!("Bearer {key}")).or(login) {
            let mut value = HeaderValue::try_from(credentials)
                .map_err(|_| ModelError::invalid("api_key", "holds characters that no header may hold"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Self { client: Client::new(&url, options, headers)?, base, extensions: options.extensions })
    }

    /// The root of the service, without a login.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Posts and waits for the head of a good answer. Dropping the future closes the connection.
    ///
    /// # Errors
    /// [`ModelError::Unavailable`] if there is nobody to talk to, [`ModelError::Upstream`] if the connection broke,
    /// and whatever error the upstream answers with, for a request for `model`.
    pub async fn post(&self, post: Post, caller: Caller<'_>, model: &str) -> Result<Response> {
        let sent = self.client.post(post, |labels| label(labels, caller, self.extensions)).await;
        let response = sent.map_err(|failed| self.failed(&failed))?;
        if response.status.is_success() {
            return Ok(response);
        }
        let status = response.status.as_u16();
        let retry_after = retry_after(&response.headers);
        // The status says enough if the body can't be read.
        let body = read_body(response, MAX_ERROR_BODY).await.unwrap_or_default();
        Err(WireError::from_response(status, retry_after, &body).into_error(model, false))
    }

    fn failed(&self, failed: &NoResponse) -> ModelError {
        let root = root(&*failed.error);
        if failed.is_connect {
            return ModelError::unavailable(format!("{NO_CONNECTION}{}: {root}", self.base));
        }
        ModelError::Upstream { message: format!("{} broke off: {root}", self.base), started: false }
    }
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// [`ModelError::Upstream`] if it is larger, or breaks off.
pub async fn read_body(response: Response, limit: usize) -> Result<Vec<u8>> {
    let mut source = response.body;
    let mut body = Vec::new();
    poll_fn(|cx| {
        loop {
            let taken = ready!(source.poll_data(cx, |bytes| {
                let fits = body.len() + bytes.len() <= limit;
                if fits {
                    body.extend_from_slice(bytes);
                }
                fits
            }));
            match taken {
                Ok(Some(true)) => {}
                Ok(Some(false)) => {
                    let message = format!("its answer is larger than {limit} bytes");
                    return Poll::Ready(Err(ModelError::Upstream { message, started: false }));
                }
                Ok(None) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(broken(&*error, false))),
            }
        }
    })
    .await?;
    Ok(body)
}

/// The error for an answer that broke off.
#[must_use]
pub(super) fn broken(error: &(dyn Error + 'static), started: bool) -> ModelError {
    ModelError::Upstream { message: format!("the connection broke: {}", root(error)), started }
}

/// Takes user and password off a URL: as the value of `authorization`. hyper sends nothing that stands before an `@`.
fn take_login(url: &mut Url) -> Option<String> {
    let (user, password) = (url.username(), url.password());
    if user.is_empty() && password.is_none() {
        return None;
    }
    let mut login = percent_decoded(user);
    login.push(b':');
    login.extend(percent_decoded(password.unwrap_or_default()));
    // Only URLs without a host refuse, which have no login either.
    let _ = (url.set_username(""), url.set_password(None));
    Some(format!("Basic {}", BASE64.encode(login)))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        let escaped = match after {
            [high, low, ..] if *byte == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        decoded.push(escaped.map_or(*byte, |(high, low)| high << 4 | low));
        if escaped.is_some() {
            rest = &after[2..];
        }
    }
    decoded
}

/// Says who asks.
fn label(labels: &mut dyn Labels, caller: Caller<'_>, extensions: bool) {
    let mut insert = |name: &'static str, value: &str| {
        if extensions || !name.starts_with("x-llmo-") {
            labels.add(name, value);
        }
    };
    // Calls that don't carry them belong to what their task does.
    let work = trace::current();
    if let Some(id) = caller.request_id.or(work.as_ref().map(|work| &*work.request_id)) {
        insert("x-request-id", id);
    }
    if let Some(tenant) = caller.tenant {
        insert("x-llmo-tenant", tenant);
    }
    if let Some(remaining) = caller.remaining {
        insert("x-llmo-deadline-ms", &remaining.as_millis().to_string());
    }
    let traceparent = work.as_ref().filter(|_| caller.traceparent.is_none()).map(|work| work.trace.traceparent());
    if let Some(parent) = caller.traceparent.or(traceparent.as_deref()) {
        insert("traceparent", parent);
    }
    let state = work.as_ref().and_then(|work| work.trace.tracestate()).map(|state| &**state);
    if let Some(state) = caller.tracestate.or(state) {
        insert("tracestate", state);
    }
    if caller.priority != 0 {
        insert("x-llmo-priority", &caller.priority.to_string());
    }
    match caller.cache {
        CacheUse::Refresh => insert("cache-control", "no-cache"),
        CacheUse::Off => insert("cache-control", "no-store"),
        _ => {}
    }
}

/// Seconds only: the form with a date is not worth a clock.
fn retry_after(headers: &impl Fields) -> Option<Duration> {
    let seconds: f64 = headers.text(RETRY_AFTER.as_str())?.trim().parse().ok()?;
    Some(Duration::try_from_secs_f64(seconds).ok()?.min(MAX_RETRY_AFTER))
}

/// The innermost reason: "connection refused", where the outer texts only repeat the URL.
fn root(error: &(dyn Error + 'static)) -> String {
    let mut source = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    source.to_string()
}

pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(caller: Caller<'_>, extensions: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        label(&mut headers, caller, extensions);
        headers
    }

    #[test]
    fn the_root_of_a_service_and_its_v1_are_the_same_upstream() {
        for url in ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"] {
            assert_eq!(Transport::new(url, &RemoteOptions::default()).unwrap().base(), "http://h:1");
        }
    }

    #[test]
    fn what_is_no_http_url_is_refused() {
        for url in ["", "localhost", "ftp://h", "http://"] {
            assert!(Transport::new(url, &RemoteOptions::default()).is_err(), "{url}");
        }
    }

    #[test]
    fn labels_that_no_header_can_hold_are_left_out() {
        let caller = Caller { request_id: Some("a\r\nb"), tenant: Some("t"), ..Caller::default() };
        let headers = headers(caller, true);
        assert!(!headers.contains_key("x-request-id"));
        assert_eq!(headers["x-llmo-tenant"], "t");
    }

    #[test]
    fn a_foreign_upstream_hears_nothing_of_tenants() {
        let caller = Caller { request_id: Some("r"), tenant: Some("t"), priority: 3, ..Caller::default() };
        let headers = headers(caller, false);
        assert!(headers.keys().all(|name| !name.as_str().starts_with("x-llmo-")), "{headers:?}");
        assert_eq!(headers["x-request-id"], "r");
    }

    #[test]
    fn a_login_is_taken_off_the_url_and_decoded() {
        for (given, login, left) in [
            ("http://u:p%40ss%3A@h:1/x", Some("u:p@ss:"), "http://h:1/x"),
            ("http://:key@h", Some(":key"), "http://h/"),
            ("http://u%2@h", Some("u%2:"), "http://h/"),
            ("http://h", None, "http://h/"),
        ] {
            let mut url = Url::parse(given).unwrap();
            let expected = login.map(|login| format!("Basic {}", BASE64.encode(login)));
            assert_eq!((take_login(&mut url), url.as_str()), (expected, left), "{given}");
        }
        assert_eq!(Transport::new("http://u:secret@h:1/v1", &RemoteOptions::default()).unwrap().base(), "http://h:1");
    }

    #[test]
    fn waits_are_read_in_seconds_and_bounded() {
        let read =
            |value: &'static str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]));
        assert_eq!(read("2"), Some(Duration::from_secs(2)));
        assert_eq!(read("1e9"), Some(MAX_RETRY_AFTER));
        for bad in ["-1", "NaN", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(read(bad), None);
        }
    }
}
