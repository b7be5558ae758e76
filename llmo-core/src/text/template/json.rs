//! The filter `tojson` as Hugging Face's transformers defines it: Python's `json.dumps`, without HTML escapes.

use std::io::{self, Write};

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, State, Value};
use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, PrettyFormatter};

/// Most bytes that one use of the filter may produce.
const MAX_JSON_BYTES: usize = 1 << 20;
/// Bytes that one unit of fuel pays for. Walking a value is slower than copying bytes (the engine's own rate is 64).
const BYTES_PER_FUEL: usize = 4;

/// `value | tojson(indent=…, ensure_ascii=…, sort_keys=…, separators=…)`.
pub(super) fn tojson(state: &State, value: &Value, indent: Option<usize>, options: Kwargs) -> Result<Value, Error> {
    let style = Style {
        indent: match indent {
            Some(indent) => Some(indent),
            None => options.get("indent")?,
        },
        ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        separators: options.get::<Option<Vec<String>>>("separators")?,
    };
    let sorted = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;
    let mut json = style.write(state, value)?;
    if sorted {
        let parsed: serde_json::Value = serde_json::from_str(&json).map_err(failed)?;
        json = style.write(state, &sort_keys(parsed))?;
    }
    Ok(Value::from(json))
}

struct Style {
    indent: Option<usize>,
    ascii: bool,
    separators: Option<Vec<String>>,
}

impl Style {
    fn write(&self, state: &State, value: &impl Serialize) -> Result<String, Error> {
        let (item, key) = match self.separators.as_deref() {
            Some([item, key]) => (item.as_str(), key.as_str()),
            Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "separators must be two strings")),
            None if self.indent.is_some() => (",", ": "),
            None => (", ", ": "),
        };
        let spaces = " ".repeat(self.indent.unwrap_or(0).min(16));
        let format = Python {
            item,
            key,
            ascii: self.ascii,
            pretty: self.indent.map(|_| PrettyFormatter::with_indent(spaces.as_bytes())),
        };
        let mut output = Bounded { state, bytes: Vec::new(), paid: 0 };
        value
            .serialize(&mut serde_json::Serializer::with_formatter(&mut output, format))
            .map_err(|error| if error.is_io() { Error::from(ErrorKind::OutOfFuel) } else { failed(error) })?;
        Ok(String::from_utf8_lossy(&output.bytes).into_owned())
    }
}

fn failed(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::InvalidOperation, "tojson failed").with_source(error)
}

fn sort_keys(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, sort_keys(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            serde_json::Value::Object(entries.into_iter().collect())
        }
        serde_json::Value::Array(items) => items.into_iter().map(sort_keys).collect(),
        other => other,
    }
}

/// Stops a value that shares its parts from growing exponentially when it is written out.
struct Bounded<'a, 'b, 'c> {
    state: &'a State<'b, 'c>,
    bytes: Vec<u8>,
    paid: usize,
}

impl Write for Bounded<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        let owed = self.bytes.len() / BYTES_PER_FUEL - self.paid;
        self.paid += owed;
        if self.bytes.len() > MAX_JSON_BYTES || self.state.consume_fuel(owed as u64).is_err() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `json.dumps`: its separators, and line breaks when it indents.
struct Python<'a> {
    item: &'a str,
    key: &'a str,
    ascii: bool,
    pretty: Option<PrettyFormatter<'a>>,
}

impl Python<'_> {
    fn item<W: ?Sized + Write>(&self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(self.item.as_bytes()) }
    }
}

impl Formatter for Python<'_> {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match &mut self.pretty {
            Some(pretty) => pretty.begin_array(writer),
            None => writer.write_all(b"["),
        }
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match &mut self.pretty {
            Some(pretty) => pretty.end_array(writer),
            None => writer.write_all(b"]"),
        }
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)?;
        match &mut self.pretty {
            // The first value's line break, without the separator that `item` has written.
            Some(pretty) => pretty.begin_array_value(writer, true),
            None => Ok(()),
        }
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.as_mut().map_or(Ok(()), |pretty| pretty.end_array_value(writer))
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match &mut self.pretty {
            Some(pretty) => pretty.begin_object(writer),
            None => writer.write_all(b"{"),
        }
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match &mut self.pretty {
            Some(pretty) => pretty.end_object(writer),
            None => writer.write_all(b"}"),
        }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)?;
        match &mut self.pretty {
            Some(pretty) => pretty.begin_object_key(writer, true),
            None => Ok(()),
        }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.key.as_bytes())
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.as_mut().map_or(Ok(()), |pretty| pretty.end_object_value(writer))
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if !self.ascii || fragment.is_ascii() {
            return writer.write_all(fragment.as_bytes());
        }
        for unit in fragment.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => writer.write_all(&[byte])?,
                _ => write!(writer, "\\u{unit:04x}")?,
            }
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        serde_json::ser::CompactFormatter.write_char_escape(writer, escape)
    }
}
