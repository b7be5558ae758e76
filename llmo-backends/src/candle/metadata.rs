//! Typed access to a GGUF header's metadata, with errors that name the model and the entry.
//!
//! An entry of the wrong kind counts as absent where it is optional.

use llmo_core::ModelError;
use llmo_core::weights::gguf::{GgufArray, GgufHeader, GgufValue};

/// The metadata of one model file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metadata<'a> {
    header: &'a GgufHeader,
    model: &'a str,
}

impl<'a> Metadata<'a> {
    /// `model` is the name that errors give.
    pub(super) fn new(header: &'a GgufHeader, model: &'a str) -> Self {
        Self { header, model }
    }

    pub(super) fn header(&self) -> &'a GgufHeader {
        self.header
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.header.get(key)?.as_str()
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.header.get(key)?.as_bool()
    }

    pub(super) fn count(&self, key: &str) -> Option<u64> {
        self.header.get(key)?.as_u64()
    }

    pub(super) fn number(&self, key: &str) -> Option<f64> {
        self.header.get(key)?.as_f64()
    }

    pub(super) fn texts(&self, key: &str) -> Option<&'a [String]> {
        match self.array(key)? {
            GgufArray::Text(texts) => Some(texts),
            _ => None,
        }
    }

    pub(super) fn numbers(&self, key: &str) -> Option<Vec<f32>> {
        match self.array(key)? {
            GgufArray::Float(numbers) => Some(numbers.iter().map(|number| *number as f32).collect()),
            GgufArray::Signed(numbers) => Some(numbers.iter().map(|number| *number as f32).collect()),
            GgufArray::Unsigned(numbers) => Some(numbers.iter().map(|number| *number as f32).collect()),
            _ => None,
        }
    }

    pub(super) fn array(&self, key: &str) -> Option<&'a GgufArray> {
        match self.header.get(key)? {
            GgufValue::Array(array) => Some(array),
            _ => None,
        }
    }

    /// # Errors
    /// [`ModelError::Corrupt`], naming the entry, if `value` is `None`.
    pub(super) fn need<T>(&self, key: &str, value: Option<T>) -> Result<T, ModelError> {
        value.ok_or_else(|| self.corrupt(format!("the metadata entry {key} is missing or of the wrong type")))
    }

    pub(super) fn corrupt(&self, reason: impl Into<String>) -> ModelError {
        ModelError::Corrupt { model: self.model.to_owned(), reason: reason.into() }
    }

    pub(super) fn unsupported(&self, what: impl Into<String>) -> ModelError {
        ModelError::Unsupported { model: self.model.to_owned(), what: what.into() }
    }
}

/// A header with these entries, for tests.
#[cfg(test)]
pub(super) fn header_of(entries: &[(String, candle_core::quantized::gguf_file::Value)]) -> GgufHeader {
    let entries: Vec<_> = entries.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let mut file = std::io::Cursor::new(Vec::new());
    candle_core::quantized::gguf_file::write(&mut file, &entries, &[]).unwrap();
    let bytes = file.into_inner();
    GgufHeader::parse(&bytes, bytes.len() as u64).unwrap()
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::gguf_file::Value;

    use super::*;

    #[test]
    fn an_entry_of_the_wrong_kind_is_named() {
        let header = header_of(&[("a".into(), Value::I32(7)), ("b".into(), Value::I8(-1))]);
        let metadata = Metadata::new(&header, "m");
        assert_eq!((metadata.count("a"), metadata.count("b"), metadata.text("a")), (Some(7), None, None));
        let error = metadata.need("b", metadata.count("b")).unwrap_err();
        assert!(error.to_string().contains("entry b"), "{error}");
    }
}
