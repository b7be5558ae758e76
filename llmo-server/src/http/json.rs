//! Strict JSON: errors name the field, the line and the column.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::names;
use crate::fault::Fault;

/// Deepest nesting of a body.
pub const MAX_DEPTH: usize = 64;

/// A value as JSON.
#[must_use]
pub fn bytes(value: &impl Serialize) -> Bytes {
    let mut bytes = Vec::with_capacity(1 << 10);
    // Only what JSON has no form for: none of our types.
    if serde_json::to_writer(&mut bytes, value).is_err() {
        bytes.clear();
        bytes.extend_from_slice(b"null");
    }
    bytes.into()
}

/// Reads a value of type `T`.
///
/// # Errors
/// Those of [`Object::new`] and [`Object::read`].
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    Object::new(body)?.read()
}

/// A body that has passed all checks that don't depend on what is read from it. It may be read several times, each time for
/// other fields: serde's `flatten` would lose the place of mistakes.
#[derive(Debug)]
pub struct Object<'a> {
    text: &'a str,
    /// It is good JSON: it was read to its end.
    good: Cell<bool>,
    /// Its fields; `None` where they can't be told.
    names: OnceCell<Option<Vec<Cow<'a, str>>>>,
}

impl<'a> Object<'a> {
    /// Looks at a body.
    ///
    /// # Errors
    /// [`Fault::Body`] for invalid UTF-8, no body, nesting deeper than [`MAX_DEPTH`], and an array.
    pub fn new(body: &'a [u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(body).map_err(|error| {
            let (line, column) = position(body, error.valid_up_to());
            whole(format!("the request body is not valid UTF-8 at line {line} column {column}"))
        })?;
        if text.trim_ascii().is_empty() {
            return Err(whole("the request body is empty; send a JSON object".to_owned()));
        }
        if let Some(offset) = too_deep(body) {
            let (line, column) = position(body, offset);
            return Err(whole(format!(
                "the request body is nested deeper than {MAX_DEPTH} levels at line {line} column {column}"
            )));
        }
        // serde reads an array as a struct's fields in order, which nobody means.
        if text.trim_start().starts_with('[') {
            return Err(whole("the request body must be a JSON object, not an array".to_owned()));
        }
        Ok(Self { text, good: Cell::new(false), names: OnceCell::new() })
    }

    /// Reads a value of type `T`.
    ///
    /// # Errors
    /// [`Fault::Body`] for broken JSON, numbers outside any type's range, and fields of a wrong type; it names the field
    /// where one is to blame.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        // Bodies are nearly always good: only what is not is read again with the place kept in mind.
        if let Ok(value) = serde_json::from_str(self.text) {
            self.good.set(true);
            return Ok(value);
        }
        let mut reader = serde_json::Deserializer::from_str(self.text);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let path = error.path().to_string();
            explain(&path, &error.into_inner())
        })?;
        reader.end().map_err(|error| explain(".", &error))?;
        Ok(value)
    }

    /// Reads what few requests have: the default where the body has none of the fields of the struct `T`.
    ///
    /// # Errors
    /// Those of [`Object::read`].
    pub fn read_rare<T: DeserializeOwned + Default>(&self) -> Result<T, Fault> {
        let names = self.names.get_or_init(|| match self.good.get() {
            true => names::of_good_object(self.text),
            false => names::of_object(self.text),
        });
        match names {
            Some(names) if !names::of_struct::<T>().iter().any(|rare| names.iter().any(|name| name == rare)) => {
                Ok(T::default())
            }
            _ => self.read(),
        }
    }
}

fn whole(message: String) -> Fault {
    Fault::Body { param: None, message }
}

fn explain(path: &str, error: &serde_json::Error) -> Fault {
    let param = Some(path).filter(|path| !matches!(*path, "." | "?")).map(str::to_owned);
    let mut message = param.as_ref().map_or_else(String::new, |param| format!("{param}: "));
    if !error.is_data() {
        message.push_str("invalid JSON: ");
    }
    message.push_str(&plain(&error.to_string()));
    Fault::Body { param, message }
}

/// Rust's names of types as people say them.
fn plain(text: &str) -> String {
    [
        ("expected u32", "expected a whole number from 0 to 4294967295"),
        ("expected u64", "expected a whole number from 0 to 18446744073709551615"),
        ("expected i64", "expected a whole number"),
        ("expected f32", "expected a number"),
        ("expected a sequence", "expected an array"),
        ("expected a map", "expected an object"),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (name, people)| text.replace(name, people))
}

/// Where the nesting passes [`MAX_DEPTH`], in bytes. Brackets in strings don't count.
fn too_deep(body: &[u8]) -> Option<usize> {
    // The compiler makes vector code of this, which it can't of the rest, nor of sums that may overflow.
    let brackets = |part: &[u8]| part.iter().fold(0_u8, |n, b| n.wrapping_add(u8::from(matches!(b, b'[' | b'{'))));
    if body.chunks(128).map(|part| usize::from(brackets(part))).sum::<usize>() <= MAX_DEPTH {
        return None;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (offset, &byte) in body.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Some(offset);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Line and column of a byte, both from 1.
fn position(body: &[u8], offset: usize) -> (usize, usize) {
    let before = &body[..offset.min(body.len())];
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1);
    (line, before.len() - start + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    struct Wire {
        #[serde(default)]
        temperature: Option<f32>,
        #[serde(default)]
        seed: Option<u64>,
    }

    fn fault(body: &[u8]) -> (Option<String>, String) {
        match parse::<Wire>(body) {
            Err(Fault::Body { param, message }) => (param, message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn errors_name_the_field_and_the_place() {
        let (param, message) = fault(b"{\n \"temperature\": \"hot\"}");
        assert_eq!(param.as_deref(), Some("temperature"));
        assert!(message.contains("line 2 column"), "{message}");
        let (param, message) = fault(br#"{"seed": -1}"#);
        assert_eq!(param.as_deref(), Some("seed"));
        assert!(message.contains("-1"), "{message}");
    }

    #[test]
    fn types_are_named_as_people_say_them() {
        let (_, message) = fault(br#"{"seed": "x"}"#);
        assert!(message.contains("string \"x\", expected a whole number from 0 to 1844"), "{message}");
        let (_, message) = fault(br#"{"temperature": []}"#);
        assert!(message.contains("expected a number at line"), "{message}");
    }

    #[test]
    fn numbers_that_no_type_holds_are_refused_by_name() {
        for bad in ["1e400", "NaN", "Infinity", "-Infinity"] {
            let (param, _) = fault(format!("{{\"temperature\": {bad}}}").as_bytes());
            assert_eq!(param.as_deref(), Some("temperature"), "{bad}");
        }
        for bad in ["18446744073709551617", "-1", "1.5"] {
            let (param, _) = fault(format!("{{\"seed\": {bad}}}").as_bytes());
            assert_eq!(param.as_deref(), Some("seed"), "{bad}");
        }
    }

    #[test]
    fn invalid_utf8_is_named_with_its_place() {
        let (param, message) = fault(b"{\n\"temperature\": \"\xff\"}");
        assert_eq!(param, None);
        assert!(message.ends_with("not valid UTF-8 at line 2 column 17"), "{message}");
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_are_not_nesting() {
        let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
        assert!(fault(deep.as_bytes()).1.contains("deeper than 64"));
        let brackets = format!("{{\"x\": \"{}\\\"[\"}}", "[".repeat(1000));
        assert!(parse::<Wire>(brackets.as_bytes()).is_ok());
        let edge = format!("{{\"x\": {}1{}}}", "[".repeat(63), "]".repeat(63));
        assert!(parse::<Wire>(edge.as_bytes()).is_ok());
    }

    #[test]
    fn rare_fields_are_read_where_they_are() {
        let rare = |body: &str| Object::new(body.as_bytes()).unwrap().read_rare::<Wire>();
        assert_eq!(rare(r#"{"x": {"seed": 5}, "y": "seed"}"#).unwrap().seed, None);
        for there in [r#"{"x": 1, "seed": 5}"#, r#"{"s\u0065ed": 5}"#] {
            assert_eq!(rare(there).unwrap().seed, Some(5), "{there}");
        }
        for bad in [r#"{"seed": -5}"#, r#"{"x": }"#, r#"{"x": 1"#, "5"] {
            assert!(rare(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rubbish_after_the_value_is_refused() {
        assert!(fault(b"{} {}").1.contains("trailing characters"));
        assert!(fault(b"").1.contains("empty"));
    }

    #[test]
    fn good_values_are_read() {
        let wire: Wire = parse(br#"{"temperature": 0.5, "seed": 18446744073709551615, "unknown": [1]}"#).unwrap();
        assert_eq!((wire.temperature, wire.seed), (Some(0.5), Some(u64::MAX)));
    }

    proptest! {
        #[test]
        fn no_body_makes_the_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse::<Wire>(&body);
        }
    }
}
