//! One id for a request through all services it passes.

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName};
use uuid::{Builder, Uuid};

/// The header.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const MAX_BYTES: usize = 128;

/// The id of a request; on every response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Takes the caller's id if it is harmless in headers, logs and ids: at most 128 of `A-Z a-z 0-9 - _ . :`.
    #[must_use]
    pub fn accept(value: &[u8]) -> Option<Self> {
        let harmless = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:".contains(b);
        if value.is_empty() || value.len() > MAX_BYTES || !value.iter().all(harmless) {
            return None;
        }
        std::str::from_utf8(value).ok().map(|id| Self(id.into()))
    }

    /// The caller's, if it gave a harmless one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        headers.get(HEADER).and_then(|value| Self::accept(value.as_bytes()))
    }

    /// A new one, ordered by time.
    #[must_use]
    pub fn make() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let milliseconds = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        // It is a name, not a secret: no need to ask the kernel for each.
        let mut random = [0; 10];
        fastrand::fill(&mut random);
        let id = Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid();
        Self((&*id.simple().encode_lower(&mut Uuid::encode_buffer())).into())
    }

    /// The id, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Arc<str>> for RequestId {
    /// One that was taken or made before.
    fn from(id: Arc<str>) -> Self {
        Self(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_break_a_log_line_is_not_accepted() {
        assert!(RequestId::accept(b"req_01:a.B-9").is_some());
        for bad in [&b""[..], b"a b", b"a\nb", b"\x1b[31m", "é".as_bytes(), &[b'a'; 129]] {
            assert!(RequestId::accept(bad).is_none(), "{bad:?}");
        }
    }
}
