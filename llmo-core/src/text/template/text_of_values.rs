//! Everything that turns a list or a map into text, bounded.
//!
//! The engine charges for such text after it is made. Lists that share their parts are exponentially longer as text
//! than in memory, and a repeated list is lazy, so the bound has to hold while the text is being made.

use std::fmt::{self, Write};

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Error, ErrorKind, Output, State, Value, escape_formatter};

/// Bytes of text that one unit of fuel pays for.
const BYTES_PER_FUEL: usize = 4;
/// Largest width or precision in a format string.
const MAX_FORMAT_NUMBER: usize = 1000;

/// Writes what `{{ … }}` holds.
pub(super) fn emit(output: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if is_scalar(value) {
        return escape_formatter(output, state, value);
    }
    let text = bounded_text(state, value)?;
    output.write_str(&text).map_err(Error::from)
}

/// The filter `string`.
pub(super) fn string(state: &State, value: &Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::String { Ok(value.clone()) } else { bounded_text(state, value).map(Value::from) }
}

/// The filter `join`.
pub(super) fn join(state: &State, items: &Value, separator: Option<&str>, options: Kwargs) -> Result<Value, Error> {
    let attribute: Option<&str> = options.get("attribute")?;
    let separator = match separator {
        Some(separator) => separator,
        None => options.get::<Option<&str>>("d")?.unwrap_or(""),
    };
    options.assert_all_used()?;
    let mut text = BoundedText::new(state);
    for (index, item) in items.try_iter()?.enumerate() {
        state.consume_fuel(1)?;
        let item = match attribute {
            Some(attribute) => item.get_attr(attribute)?,
            None => item,
        };
        let separator = if index == 0 { "" } else { separator };
        text.push(format_args!("{separator}"))?;
        text.push_value(&item)?;
    }
    Ok(Value::from(text.text))
}

/// The filter `format`: Python's `%`.
pub(super) fn format(state: &mut State, format: &Value, arguments: Rest<Value>) -> Result<Value, Error> {
    check_format(format.as_str().unwrap_or_default())?;
    let mut call = vec![format.clone()];
    for argument in arguments.iter() {
        call.push(scalar(state, argument)?);
    }
    Value::from_function(minijinja::filters::format).call(state, &call)
}

/// Python's methods of strings, dicts and lists.
pub(super) fn method(state: &mut State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        // Methods read their string, which the engine does not charge for.
        state.consume_fuel((text.len() / 16) as u64)?;
        match (name, arguments) {
            ("join", [items]) => return join(state, items, Some(text), Kwargs::from_iter([] as [(&str, Value); 0])),
            ("format", arguments) => {
                check_format(text)?;
                let scalars: Vec<Value> =
                    arguments.iter().map(|argument| scalar(state, argument)).collect::<Result<_, _>>()?;
                return minijinja_contrib::pycompat::unknown_method_callback(state, value, name, &scalars);
            }
            _ => {}
        }
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, arguments)
}

/// The text of any value, at the state's cost.
pub(super) fn bounded_text(state: &State, value: &Value) -> Result<String, Error> {
    let mut text = BoundedText::new(state);
    text.push_value(value)?;
    Ok(text.text)
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable | ValueKind::Plain)
}

/// The value itself, or the text of a container.
fn scalar(state: &State, value: &Value) -> Result<Value, Error> {
    if is_scalar(value) { Ok(value.clone()) } else { bounded_text(state, value).map(Value::from) }
}

/// Refuses widths and precisions that make much text from little.
fn check_format(format: &str) -> Result<(), Error> {
    let numbers = format.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    for digits in numbers {
        if digits.parse::<usize>().map_or(true, |number| number > MAX_FORMAT_NUMBER) {
            return Err(Error::from(ErrorKind::OutOfFuel));
        }
    }
    Ok(())
}

/// Pays fuel while it grows and fails when there is none left.
struct BoundedText<'a, 'b, 'c> {
    state: &'a State<'b, 'c>,
    text: String,
    paid: usize,
}

impl<'a, 'b, 'c> BoundedText<'a, 'b, 'c> {
    fn new(state: &'a State<'b, 'c>) -> Self {
        Self { state, text: String::new(), paid: 0 }
    }

    fn push(&mut self, text: fmt::Arguments<'_>) -> Result<(), Error> {
        self.write_fmt(text).map_err(|_| Error::from(ErrorKind::OutOfFuel))
    }

    /// A value by itself: text without quotes, anything else as Python would show it.
    fn push_value(&mut self, value: &Value) -> Result<(), Error> {
        if is_scalar(value) { self.push(format_args!("{value}")) } else { self.push_item(value) }
    }

    /// A value inside a list or a map. The engine's own `Display` would go through a long list even after the writer
    /// has failed.
    fn push_item(&mut self, value: &Value) -> Result<(), Error> {
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => {
                self.push(format_args!("["))?;
                for (index, item) in value.try_iter()?.enumerate() {
                    self.push(format_args!("{}", if index == 0 { "" } else { ", " }))?;
                    self.push_item(&item)?;
                }
                self.push(format_args!("]"))
            }
            ValueKind::Map => {
                self.push(format_args!("{{"))?;
                for (index, key) in value.try_iter()?.enumerate() {
                    self.push(format_args!("{}{key:?}: ", if index == 0 { "" } else { ", " }))?;
                    self.push_item(&value.get_item(&key)?)?;
                }
                self.push(format_args!("}}"))
            }
            _ => self.push(format_args!("{value:?}")),
        }
    }
}

impl Write for BoundedText<'_, '_, '_> {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        self.text.push_str(more);
        let owed = self.text.len() / BYTES_PER_FUEL - self.paid;
        self.paid += owed;
        self.state.consume_fuel(owed as u64).map_err(|_| fmt::Error)
    }
}
