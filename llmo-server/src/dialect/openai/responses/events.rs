//! Typed events with their numbers.

use bytes::BytesMut;
use serde_json::{Map, Value, json};

use crate::dialect::sse;

/// Numbers the events of one stream.
#[derive(Debug, Default)]
pub(super) struct Events {
    next: u64,
}

impl Events {
    /// Writes an event; its data are `fields`, an object, with type and number before them.
    pub(super) fn write(&mut self, kind: &str, fields: Value, events: &mut BytesMut) {
        let mut data = Map::new();
        data.insert("type".into(), json!(kind));
        data.insert("sequence_number".into(), json!(self.next));
        self.next += 1;
        if let Value::Object(fields) = fields {
            data.extend(fields);
        }
        events.extend_from_slice(&sse::named(kind, &data));
    }
}
