//! The protocol of the cache service.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/cache/{key}` | 200, the value, [`TTL_HEADER`] and [`TAGS_HEADER`]; 404 |
//! | `PUT /v1/cache/{key}`, the value, [`TTL_HEADER`], [`TAGS_HEADER`] | 204 |
//! | `DELETE /v1/cache/{key}` | 204; 404 if there was none |
//! | `DELETE /v1/cache?tag=…` or `?all=true` | 200, [`Removed`] |
//! | `GET /v1/cache-stats` | 200, [`CacheStats`](llmo_core::CacheStats) |
//!
//! Errors are [`ErrorBody`]: 400 for a bad key, header or query, 410 for a damaged entry (which was removed), 413 for
//! one that is too large, 503 with `Retry-After` or 504 when the backend of the service fails.

use serde::{Deserialize, Serialize};

/// Path of all entries; an entry's path is this, a slash and its key.
pub const ENTRIES_PATH: &str = "/v1/cache";
/// Path of the statistics.
pub const STATS_PATH: &str = "/v1/cache-stats";
/// What is left of an entry's time to live, in milliseconds. Without it: no limit.
pub const TTL_HEADER: &str = "x-cache-ttl-ms";
/// An entry's tags: separated by commas, each percent-encoded.
pub const TAGS_HEADER: &str = "x-cache-tags";
/// Query parameter: remove the entries of this tag.
pub const TAG_PARAMETER: &str = "tag";
/// Query parameter: with the value `true`, remove everything.
pub const ALL_PARAMETER: &str = "all";

/// How many entries were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Removed {
    /// The number, as far as known.
    pub removed: u64,
}

/// The body of every error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    /// For people.
    pub message: String,
    /// For programs: `invalid_request`, `not_found`, `corrupt`, `too_large`, `unavailable`, `timeout`.
    pub code: String,
    /// Most bytes of a value, if that was exceeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// The value of [`TAGS_HEADER`].
#[must_use]
pub fn encode_tags(tags: &[String]) -> String {
    use std::fmt::Write;
    let mut header = String::new();
    for (n, tag) in tags.iter().enumerate() {
        if n > 0 {
            header.push(',');
        }
        for byte in tag.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.:/@+=".contains(&byte) {
                header.push(byte.into());
            } else {
                // Writing to a String can't fail.
                let _ = write!(header, "%{byte:02X}");
            }
        }
    }
    header
}

/// The tags in a [`TAGS_HEADER`]; `None` if it is malformed. Blanks around a tag are ignored.
#[must_use]
pub fn decode_tags(header: &str) -> Option<Vec<String>> {
    header.split(',').map(|tag| decode_tag(tag.trim())).filter(|tag| tag.as_deref() != Some("")).collect()
}

fn decode_tag(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (hex_digit(rest.next()?)?, hex_digit(rest.next()?)?);
                high << 4 | low
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tags_survive_the_header(tags in proptest::collection::vec(".+", 0..4)) {
            let header = encode_tags(&tags);
            prop_assert!(header.is_ascii());
            prop_assert_eq!(decode_tags(&header), Some(tags));
        }

        #[test]
        fn arbitrary_headers_do_not_panic(header: String) {
            let _ = decode_tags(&header);
        }
    }

    #[test]
    fn a_broken_escape_is_refused() {
        for bad in ["%", "%4", "%zz", "ok,%ff"] {
            assert_eq!(decode_tags(bad), None, "{bad}");
        }
        assert_eq!(decode_tags("a, b").unwrap(), ["a", "b"]);
    }
}
