//! Reading what a request says besides its body. Everything malformed is refused with a reason.

use std::time::Duration;

use axum::extract::Path;
use axum::extract::Query;
use axum::extract::rejection::{PathRejection, QueryRejection};
use http::HeaderMap;
use llmo_cache::remote::wire;
use llmo_core::{CacheKey, PutOptions};
use serde::Deserialize;

use super::answer::Refusal;

/// Most tags of an entry.
const MAX_TAGS: usize = 32;
/// Longest tag, in bytes.
const MAX_TAG_BYTES: usize = 256;

/// The key in the path.
pub(super) fn key(path: Result<Path<String>, PathRejection>) -> Result<CacheKey, Refusal> {
    let Path(key) = path.map_err(|rejection| Refusal::bad_request(rejection.body_text()))?;
    Ok(CacheKey::new(key)?)
}

/// How an entry is to be kept.
pub(super) fn put_options(headers: &HeaderMap) -> Result<PutOptions, Refusal> {
    let mut options = PutOptions::default();
    if let Some(ttl) = text(headers, wire::TTL_HEADER)? {
        let digits = !ttl.is_empty() && ttl.bytes().all(|byte| byte.is_ascii_digit());
        let ms = ttl.parse().ok().filter(|_| digits);
        options.ttl = Some(Duration::from_millis(ms.ok_or_else(|| malformed(wire::TTL_HEADER, "milliseconds"))?));
    }
    if let Some(tags) = text(headers, wire::TAGS_HEADER)? {
        let tags = wire::decode_tags(tags);
        options.tags = tags.ok_or_else(|| malformed(wire::TAGS_HEADER, "percent-encoded tags between commas"))?;
    }
    if options.tags.len() > MAX_TAGS || options.tags.iter().any(|tag| tag.len() > MAX_TAG_BYTES) {
        let limits = format!("at most {MAX_TAGS} tags of at most {MAX_TAG_BYTES} bytes");
        return Err(malformed(wire::TAGS_HEADER, &limits));
    }
    Ok(options)
}

/// Which entries to remove.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sweep {
    /// Those with this tag.
    Tag(String),
    /// All.
    All,
}

/// The query of a removal. Serde can't be asked for "exactly one of two".
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SweepQuery {
    tag: Option<String>,
    all: Option<bool>,
}

/// What a removal without a key is about. Nothing is removed unless the request says what.
pub(super) fn sweep(query: Result<Query<SweepQuery>, QueryRejection>) -> Result<Sweep, Refusal> {
    let Query(query) = query.map_err(|rejection| Refusal::bad_request(rejection.body_text()))?;
    match query {
        SweepQuery { tag: Some(tag), all: None } => Ok(Sweep::Tag(tag)),
        SweepQuery { tag: None, all: Some(true) } => Ok(Sweep::All),
        _ => Err(Refusal::bad_request("say what to remove: ?tag=NAME, or ?all=true for everything".to_owned())),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let value = headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| malformed(name, "printable ASCII"))
}

fn malformed(header: &str, wanted: &str) -> Refusal {
    Refusal::bad_request(format!("the header {header} is malformed: it must hold {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(name: &'static str, value: &str) -> Result<PutOptions, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        put_options(&headers)
    }

    #[test]
    fn ttl_and_tags_are_read() {
        let ttl = options(wire::TTL_HEADER, "1500").unwrap().ttl;
        assert_eq!(ttl, Some(Duration::from_millis(1500)));
        assert_eq!(options(wire::TAGS_HEADER, "model:a, b%2Cc").unwrap().tags, ["model:a", "b,c"]);
        assert_eq!(put_options(&HeaderMap::new()).unwrap(), PutOptions::default());
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for bad in ["", "-1", "+1", "1.5", "1e3", "99999999999999999999", "soon"] {
            assert!(options(wire::TTL_HEADER, bad).is_err(), "{bad:?}");
        }
        let (many, long) = (vec!["t"; MAX_TAGS + 1].join(","), "t".repeat(MAX_TAG_BYTES + 1));
        for bad in ["%zz", &many, &long] {
            assert!(options(wire::TAGS_HEADER, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nothing_is_removed_unless_it_is_named() {
        let query = |tag: Option<&str>, all| sweep(Ok(Query(SweepQuery { tag: tag.map(str::to_owned), all })));
        assert_eq!(query(Some("a"), None).unwrap(), Sweep::Tag("a".into()));
        assert_eq!(query(None, Some(true)).unwrap(), Sweep::All);
        assert!(query(None, None).is_err());
        assert!(query(None, Some(false)).is_err());
        assert!(query(Some("a"), Some(true)).is_err());
    }
}
