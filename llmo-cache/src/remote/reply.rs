//! Reading what the cache service answers.

use std::time::Duration;

use bytes::BytesMut;
use llmo_core::{CacheError, Entry};
use reqwest::{Response, StatusCode};

use super::{Failure, wire};

/// The response, if it is one of success.
pub(super) async fn checked(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let said = response.json::<wire::ErrorBody>().await.unwrap_or_default().error;
    Err(Failure::Refused(match status {
        StatusCode::BAD_REQUEST => CacheError::InvalidKey(said.message),
        StatusCode::PAYLOAD_TOO_LARGE => CacheError::TooLarge { size: 0, limit: said.limit.unwrap_or(0) },
        StatusCode::GONE => CacheError::Corrupt(said.message),
        StatusCode::GATEWAY_TIMEOUT => CacheError::Timeout,
        _ => CacheError::Unavailable(format!("the cache service answered {status}: {}", said.message)),
    }))
}

/// The entry in a response; at most `limit` bytes of it are read.
pub(super) async fn entry(mut response: Response, limit: u64) -> Result<Entry, Failure> {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let ttl = header(wire::TTL_HEADER).and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
    let tags = header(wire::TAGS_HEADER).and_then(wire::decode_tags).unwrap_or_default();
    let mut value = BytesMut::with_capacity(response.content_length().unwrap_or(0).min(limit) as usize);
    while let Some(chunk) = response.chunk().await? {
        let size = (value.len() + chunk.len()) as u64;
        if size > limit {
            return Err(Failure::Refused(CacheError::TooLarge { size, limit }));
        }
        value.extend_from_slice(&chunk);
    }
    let mut entry = Entry::new(value.freeze());
    entry.ttl = ttl;
    entry.tags = tags;
    Ok(entry)
}
