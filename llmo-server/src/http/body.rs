//! Request bodies: bounded in size and time, of a type we read.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, ORIGIN};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::fault::Fault;

/// How much of a refused body is still read, so that the client, still sending, gets to see the refusal.
const DISCARD_BYTES: usize = 64 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(3);

/// Most memory taken for a body before it is there.
const FIRST_BYTES: usize = 64 << 10;

/// Bounds of a request body.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct BodyLimits {
    /// Most bytes; more is 413.
    pub max_bytes: usize,
    /// Longest time until the last byte; longer is 408.
    pub timeout: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { max_bytes: 8 << 20, timeout: Duration::from_secs(30) }
    }
}

impl From<&llmo_config::LimitsConfig> for BodyLimits {
    fn from(limits: &llmo_config::LimitsConfig) -> Self {
        Self { max_bytes: limits.max_body_bytes, timeout: Duration::from_secs(limits.body_timeout_seconds) }
    }
}

/// Reads a JSON body: checks its type and encoding, then [`read`]s it.
///
/// # Errors
/// [`Fault::MediaType`], and those of [`read`].
pub async fn read_json(request: Request, limits: BodyLimits) -> Result<Bytes, Fault> {
    check_type(request.headers())?;
    read(request, limits).await
}

/// Reads a whole body.
///
/// # Errors
/// [`Fault::TooLarge`], [`Fault::SlowBody`], [`Fault::BrokenBody`].
pub async fn read(request: Request, limits: BodyLimits) -> Result<Bytes, Fault> {
    let (parts, body) = request.into_parts();
    let deadline = Instant::now() + limits.timeout;
    let declared = parts.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    let too_large = Fault::TooLarge { limit: limits.max_bytes };
    if declared.is_some_and(|length| length > limits.max_bytes as u64) {
        // A client that asks first has not sent anything, and never will.
        if !parts.headers.contains_key(EXPECT) {
            discard(body).await;
        }
        return Err(too_large);
    }
    let mut body = body;
    let mut whole = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(Fault::SlowBody(limits.timeout)),
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "request body broke off");
                return Err(Fault::BrokenBody);
            }
            Ok(Some(Ok(frame))) => frame,
        };
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > limits.max_bytes {
                drop(whole);
                discard(body).await;
                return Err(too_large);
            }
            // Most come at once, behind their heads: nothing to put together.
            if whole.is_empty() && body.is_end_stream() {
                return Ok(data);
            }
            if whole.is_empty() {
                // A length is only a claim: memory beyond this is taken when the bytes are there.
                whole.reserve(declared.map_or(0, |length| (length as usize).min(FIRST_BYTES)));
            }
            whole.extend_from_slice(&data);
        }
    }
}

async fn discard(mut body: Body) {
    let reading = async {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len);
            if discarded > DISCARD_BYTES {
                return;
            }
        }
    };
    // Whether it came to an end does not matter: the connection closes after the response.
    let _ = tokio::time::timeout(DISCARD_TIME, reading).await;
}

fn check_type(headers: &HeaderMap) -> Result<(), Fault> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(Fault::MediaType("compressed bodies are not taken: send it without content-encoding".into()));
    }
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let text = value.to_str().unwrap_or("");
    let essence = text.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    // What `curl -d` says of everything. A browser sends it across origins without asking first, and says `origin`.
    let curl = essence == "application/x-www-form-urlencoded" && !headers.contains_key(ORIGIN);
    if json || curl {
        return Ok(());
    }
    let shown: String = essence.chars().take(64).collect();
    Err(Fault::MediaType(format!("content-type must be application/json, not {shown:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(pairs: &[(http::HeaderName, &'static str)]) -> Result<(), Fault> {
        check_type(&pairs.iter().map(|(k, v)| (k.clone(), http::HeaderValue::from_static(v))).collect())
    }

    #[test]
    fn json_in_all_its_names_is_taken() {
        for good in ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/a+json"] {
            assert!(typed(&[(CONTENT_TYPE, good)]).is_ok(), "{good}");
        }
        assert!(typed(&[]).is_ok());
        assert!(typed(&[(CONTENT_ENCODING, "identity")]).is_ok());
    }

    #[test]
    fn other_types_and_compression_are_not() {
        for bad in ["text/plain", "multipart/form-data; boundary=x", "application/xml", "json", ""] {
            assert!(matches!(typed(&[(CONTENT_TYPE, bad)]), Err(Fault::MediaType(_))), "{bad}");
        }
        assert!(typed(&[(CONTENT_ENCODING, "gzip")]).is_err());
    }

    #[test]
    fn plain_curl_works_and_a_foreign_web_page_does_not() {
        let form = (CONTENT_TYPE, "application/x-www-form-urlencoded");
        assert!(typed(std::slice::from_ref(&form)).is_ok());
        assert!(typed(&[form, (ORIGIN, "https://evil.example")]).is_err());
    }
}
