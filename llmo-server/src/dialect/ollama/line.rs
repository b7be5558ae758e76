//! Lines of JSON.

use bytes::Bytes;
use serde::Serialize;

/// One line with `value`.
#[must_use]
pub fn line(value: &impl Serialize) -> Bytes {
    let mut line = Vec::with_capacity(256);
    // JSON text has no line breaks of its own. Our values always serialise.
    if let Err(error) = serde_json::to_writer(&mut line, value) {
        tracing::error!(%error, "a line could not be written");
    }
    line.push(b'\n');
    line.into()
}
