//! A JSON object, written field by field. Pure.

use bytes::Bytes;
use serde::Serialize;

/// Requests are written straight into the bytes that are sent: a tree of values first would cost as much as everything else
/// that a gateway does with a small request.
#[derive(Debug)]
pub(super) struct Object(Vec<u8>);

impl Object {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(1 << 10))
    }

    /// Adds a field. Its name is one of ours, each used once.
    pub(super) fn insert(&mut self, name: &'static str, value: impl Serialize) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        let begin = self.0.len();
        // Only what JSON has no form for: none of our types.
        if serde_json::to_writer(&mut self.0, &value).is_err() {
            self.0.truncate(begin);
            self.0.extend_from_slice(b"null");
        }
    }

    pub(super) fn finish(mut self) -> Bytes {
        if self.0.is_empty() {
            self.0.push(b'{');
        }
        self.0.push(b'}');
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_in_their_order() {
        let mut object = Object::new();
        object.insert("b", "a\"\n");
        object.insert("a", [0.7_f32, 1.0]);
        object.insert("c", None::<u32>);
        assert_eq!(object.finish(), r#"{"b":"a\"\n","a":[0.7,1.0],"c":null}"#);
        assert_eq!(Object::new().finish(), "{}");
    }
}
