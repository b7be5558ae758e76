//! Server-sent events as bytes.

use bytes::Bytes;
use serde::Serialize;

/// The end of a good stream in OpenAI's dialect.
pub const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");
/// Keeps proxies from closing a quiet stream. Clients ignore comments.
pub const HEARTBEAT: Bytes = Bytes::from_static(b": still here\n\n");

/// One event with `value` as its data.
#[must_use]
pub fn data(value: &impl Serialize) -> Bytes {
    framed(b"data: ", value)
}

/// An event of type `error`. Nothing follows it.
#[must_use]
pub fn error(value: &impl Serialize) -> Bytes {
    framed(b"event: error\ndata: ", value)
}

/// An event of this type.
#[must_use]
pub fn named(event: &str, value: &impl Serialize) -> Bytes {
    framed(format!("event: {event}\ndata: ").as_bytes(), value)
}

fn framed(prefix: &[u8], value: &impl Serialize) -> Bytes {
    let mut event = Vec::with_capacity(256);
    event.extend_from_slice(prefix);
    // JSON text has no line breaks of its own, so that one data line is enough. Our values always serialise.
    if let Err(error) = serde_json::to_writer(&mut event, value) {
        tracing::error!(%error, "an event could not be written");
    }
    event.extend_from_slice(b"\n\n");
    event.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_in_text_do_not_break_events() {
        assert_eq!(data(&"a\nb\r\n\u{2028}"), "data: \"a\\nb\\r\\n\u{2028}\"\n\n");
        assert_eq!(error(&1), "event: error\ndata: 1\n\n");
    }
}
