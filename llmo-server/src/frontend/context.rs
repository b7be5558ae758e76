//! What a request's headers say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Version};
use llmo_config::TenantFrom;
use llmo_core::model::{CacheUse, Origin};
use llmo_core::{GenerateRequest, ModelError};

use xxhash_rust::xxh3::xxh3_64;

use super::state::Frontend;
use crate::fault::Fault;
use crate::http::{AccessRecord, Arrival, Lifecycle, RequestId};

/// Models watch deadlines themselves, and know better where time went. This is the net under them.
const SLACK: Duration = Duration::from_millis(250);

/// Who asks, how long they wait, and what of it caches may know.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) request_id: RequestId,
    pub(super) tenant: Option<String>,
    pub(super) priority: i8,
    pub(super) deadline: Instant,
    pub(super) cache: CacheUse,
    pub(super) lifecycle: Lifecycle,
    /// Missing only where no layer has begun one.
    pub(super) record: Option<AccessRecord>,
    /// Do other answers share the connection?
    pub(super) multiplexed: bool,
    /// Does the caller want to know why this replica was chosen?
    pub(super) explain_route: bool,
}

impl Context {
    /// Puts what the headers say into a request.
    pub(super) fn apply(&self, request: &mut GenerateRequest) {
        request.request_id = Some(self.request_id.as_str().to_owned());
        request.tenant.clone_from(&self.tenant);
        request.priority = self.priority;
        request.deadline = Some(self.deadline);
        request.cache = self.cache;
        request.explain = self.explain_route;
        if let Some(trace) = self.record.as_ref().map(|record| &record.work().trace) {
            request.traceparent = Some(trace.traceparent());
            request.tracestate = trace.tracestate().map(|state| state.to_string());
        }
    }

    /// Takes down where the answer comes from.
    pub(super) fn answered_by(&self, origin: &Origin) {
        if let Some(record) = &self.record {
            record.note(|facts| {
                facts.replica.clone_from(&origin.replica);
                facts.cache = origin.cache.header();
            });
        }
    }

    /// Waits for `work`, but not long past the deadline.
    pub(super) async fn in_time<T>(
        &self,
        stage: &str,
        work: impl Future<Output = Result<T, ModelError>>,
    ) -> Result<T, Fault> {
        match tokio::time::timeout_at(self.net().into(), work).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(ModelError::DeadlineExceeded { stage: stage.to_owned() }.into()),
        }
    }

    /// When the net under the models' own deadlines is.
    pub(super) fn net(&self) -> Instant {
        self.deadline + SLACK
    }
}

impl FromRequestParts<Arc<Frontend>> for Context {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, frontend: &Arc<Frontend>) -> Result<Self, Fault> {
        let wait = wait(&parts.headers)?.unwrap_or(Duration::MAX).min(frontend.options.request_timeout);
        let arrival = Arrival::of(&parts.extensions).cloned().unwrap_or_default();
        Ok(Self {
            request_id: arrival.request_id().unwrap_or_else(RequestId::make),
            tenant: tenant(&parts.headers, frontend.options.tenant_from)?,
            priority: priority(&parts.headers)?,
            deadline: Instant::now() + wait,
            cache: cache_use(&parts.headers),
            lifecycle: arrival.lifecycle().clone(),
            record: arrival.record().cloned(),
            multiplexed: parts.version == Version::HTTP_2,
            explain_route: frontend.options.explain_route || wants_route(&parts.headers),
        })
    }
}

const DEADLINE: HeaderName = HeaderName::from_static("x-llmo-deadline-ms");
const PRIORITY: HeaderName = HeaderName::from_static("x-llmo-priority");
const TENANT: HeaderName = HeaderName::from_static("x-llmo-tenant");
const EXPLAIN: HeaderName = HeaderName::from_static("x-llmo-explain");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

fn wait(headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
    let Some(value) = headers.get(DEADLINE) else {
        return Ok(None);
    };
    let milliseconds = value.to_str().ok().and_then(|value| value.trim().parse().ok());
    milliseconds
        .map(|ms| Some(Duration::from_millis(ms)))
        .ok_or_else(|| Fault::invalid(DEADLINE.as_str(), "must be a number of milliseconds"))
}

fn priority(headers: &HeaderMap) -> Result<i8, Fault> {
    let Some(value) = headers.get(PRIORITY) else {
        return Ok(0);
    };
    let priority = value.to_str().ok().and_then(|value| value.trim().parse().ok());
    priority
        .ok_or_else(|| Fault::invalid(PRIORITY.as_str(), "must be a number from -128 to 127; the larger goes first"))
}

/// Whom a request belongs to; nobody, if its header makes no sense (which the handler will say).
#[must_use]
pub fn tenant_of(headers: &HeaderMap, from: TenantFrom) -> Option<String> {
    tenant(headers, from).ok().flatten()
}

fn tenant(headers: &HeaderMap, from: TenantFrom) -> Result<Option<String>, Fault> {
    match from {
        TenantFrom::Header => tenant_header(headers),
        TenantFrom::ApiKey => Ok(api_key(headers).map(|key| format!("key-{:016x}", xxh3_64(key)))),
        _ => Ok(None),
    }
}

/// OpenAI's place for it, and Anthropic's. Keys themselves go nowhere: not into logs, names or other services.
fn api_key(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).and_then(|value| {
        let (scheme, key) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key.trim_ascii())
    });
    bearer.or_else(|| headers.get(API_KEY).map(HeaderValue::as_bytes)).filter(|key| !key.is_empty())
}

/// The rules are those of request ids: a tenant's name becomes part of keys and logs.
fn tenant_header(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(value) = headers.get(TENANT) else {
        return Ok(None);
    };
    let name = RequestId::accept(value.as_bytes());
    name.map(|name| Some(name.as_str().to_owned()))
        .ok_or_else(|| Fault::invalid(TENANT.as_str(), "must be 1 to 128 letters, digits, or - _ . :"))
}

/// `x-llmo-explain: route`, in the request.
fn wants_route(headers: &HeaderMap) -> bool {
    let values = headers.get_all(EXPLAIN).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|what| what.trim().eq_ignore_ascii_case("route"))
}

fn cache_use(headers: &HeaderMap) -> CacheUse {
    let mut wanted = CacheUse::Default;
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    for directive in values.flat_map(|value| value.split(',')) {
        match directive.trim().to_ascii_lowercase().as_str() {
            "no-store" => return CacheUse::Off,
            "no-cache" | "max-age=0" => wanted = CacheUse::Refresh,
            _ => {}
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        [(HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect()
    }

    #[test]
    fn cache_control_is_read_as_http_has_it() {
        for (value, expected) in [
            ("no-store", CacheUse::Off),
            ("no-cache, No-Store", CacheUse::Off),
            ("max-age=0", CacheUse::Refresh),
            ("private, no-cache", CacheUse::Refresh),
            ("max-age=60", CacheUse::Default),
        ] {
            assert_eq!(cache_use(&headers("cache-control", value)), expected, "{value}");
        }
    }

    #[test]
    fn a_strange_deadline_is_refused() {
        assert_eq!(wait(&headers("x-llmo-deadline-ms", "250")).unwrap(), Some(Duration::from_millis(250)));
        for bad in ["-1", "soon", "1e3", ""] {
            assert!(wait(&headers("x-llmo-deadline-ms", bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tenant_that_could_be_mistaken_for_a_path_is_refused() {
        let read = |value| tenant(&headers("x-llmo-tenant", value), TenantFrom::Header);
        assert_eq!(read("team-a").unwrap().as_deref(), Some("team-a"));
        assert!(read("../b").is_err());
    }

    #[test]
    fn an_api_key_names_its_tenant_and_is_not_in_the_name() {
        let read = |name, value| tenant(&headers(name, value), TenantFrom::ApiKey).unwrap();
        let name = read("authorization", "Bearer sk-secret").expect("a tenant");
        assert!(!name.contains("secret"));
        assert_eq!(read("x-api-key", "sk-secret").as_ref(), Some(&name));
        assert_eq!(read("authorization", "bearer  sk-secret ").as_ref(), Some(&name));
        assert_ne!(read("authorization", "Bearer sk-other").as_ref(), Some(&name));
        assert_eq!(read("x-llmo-tenant", "somebody-else"), None);
        assert_eq!(tenant(&headers("x-llmo-tenant", "a"), TenantFrom::None).unwrap(), None);
    }

    #[test]
    fn a_priority_is_a_small_number() {
        assert_eq!(priority(&headers("x-llmo-priority", "-5")).unwrap(), -5);
        assert!(priority(&headers("x-llmo-priority", "1000")).is_err());
    }
}
