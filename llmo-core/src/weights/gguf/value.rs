//! Values of GGUF metadata.

use super::reader::Reader;
use crate::weights::WeightsError;

/// A metadata value. Numbers of all widths are widened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum GgufValue {
    /// An unsigned integer.
    Unsigned(u64),
    /// A signed integer.
    Signed(i64),
    /// A floating-point number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// Text.
    Text(String),
    /// Several values of one kind.
    Array(GgufArray),
}

/// An array of metadata values. The format allows arrays in arrays; no model has them and no engine reads them.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum GgufArray {
    /// Unsigned integers.
    Unsigned(Vec<u64>),
    /// Signed integers.
    Signed(Vec<i64>),
    /// Floating-point numbers.
    Float(Vec<f64>),
    /// Flags.
    Bool(Vec<bool>),
    /// Texts.
    Text(Vec<String>),
}

impl GgufValue {
    /// A number that is not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(*value),
            Self::Signed(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A flag.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// Text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Text(value) = self { Some(value) } else { None }
    }

    /// Any number.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Unsigned(value) => Some(*value as f64),
            Self::Signed(value) => Some(*value as f64),
            _ => None,
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>, key: &str) -> Result<Self, WeightsError> {
        let what = format!("the value of {key:?}");
        Ok(match Kind::read(reader, &what)? {
            Kind::Array => Self::Array(GgufArray::read(reader, &what)?),
            Kind::Text => Self::Text(reader.text(&what)?),
            Kind::Bool => Self::Bool(read_bool(reader, &what)?),
            Kind::Number(number) => match number {
                Number::F32 | Number::F64 => Self::Float(number.float(reader, &what)?),
                Number::I8 | Number::I16 | Number::I32 | Number::I64 => Self::Signed(number.signed(reader, &what)?),
                _ => Self::Unsigned(number.unsigned(reader, &what)?),
            },
        })
    }
}

impl GgufArray {
    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Unsigned(values) => values.len(),
            Self::Signed(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(reader: &mut Reader<'_>, what: &str) -> Result<Self, WeightsError> {
        let kind = Kind::read(reader, what)?;
        let count = reader.elements(&format!("the number of elements of {what}"), kind.least_bytes())?;
        Ok(match kind {
            Kind::Array => return Err(WeightsError::invalid(format!("{what} is an array of arrays"))),
            Kind::Text => Self::Text(collect(count, || reader.text(what))?),
            Kind::Bool => Self::Bool(collect(count, || read_bool(reader, what))?),
            Kind::Number(number) => match number {
                Number::F32 | Number::F64 => Self::Float(collect(count, || number.float(reader, what))?),
                Number::I8 | Number::I16 | Number::I32 | Number::I64 => {
                    Self::Signed(collect(count, || number.signed(reader, what))?)
                }
                _ => Self::Unsigned(collect(count, || number.unsigned(reader, what))?),
            },
        })
    }
}

/// `count` is not larger than what the bytes that are there can hold: reserving room for it is safe.
fn collect<T>(count: usize, mut read: impl FnMut() -> Result<T, WeightsError>) -> Result<Vec<T>, WeightsError> {
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        values.push(read()?);
    }
    Ok(values)
}

fn read_bool(reader: &mut Reader<'_>, what: &str) -> Result<bool, WeightsError> {
    match reader.array(what)? {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => Err(WeightsError::invalid(format!("{what} is neither true nor false but {other}"))),
    }
}

/// The type of a value, by its number in the file.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Number(Number),
    Bool,
    Text,
    Array,
}

impl Kind {
    fn read(reader: &mut Reader<'_>, what: &str) -> Result<Self, WeightsError> {
        Ok(match reader.u32(&format!("the type of {what}"))? {
            0 => Self::Number(Number::U8),
            1 => Self::Number(Number::I8),
            2 => Self::Number(Number::U16),
            3 => Self::Number(Number::I16),
            4 => Self::Number(Number::U32),
            5 => Self::Number(Number::I32),
            6 => Self::Number(Number::F32),
            7 => Self::Bool,
            8 => Self::Text,
            9 => Self::Array,
            10 => Self::Number(Number::U64),
            11 => Self::Number(Number::I64),
            12 => Self::Number(Number::F64),
            other => return Err(WeightsError::invalid(format!("{what} has the unknown type {other}"))),
        })
    }

    /// Bytes that an element takes at least.
    fn least_bytes(self) -> u64 {
        match self {
            Self::Number(Number::U8 | Number::I8) | Self::Bool => 1,
            Self::Number(Number::U16 | Number::I16) => 2,
            Self::Number(Number::U32 | Number::I32 | Number::F32) => 4,
            _ => 8,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Number {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
}

impl Number {
    fn unsigned(self, reader: &mut Reader<'_>, what: &str) -> Result<u64, WeightsError> {
        Ok(match self {
            Self::U8 | Self::I8 => u64::from(u8::from_le_bytes(reader.array(what)?)),
            Self::U16 | Self::I16 => u64::from(u16::from_le_bytes(reader.array(what)?)),
            Self::U32 | Self::I32 | Self::F32 => u64::from(reader.u32(what)?),
            Self::U64 | Self::I64 | Self::F64 => reader.u64(what)?,
        })
    }

    fn signed(self, reader: &mut Reader<'_>, what: &str) -> Result<i64, WeightsError> {
        // The casts reinterpret the same bits at the same width.
        Ok(match self {
            Self::U8 | Self::I8 => i64::from(i8::from_le_bytes(reader.array(what)?)),
            Self::U16 | Self::I16 => i64::from(i16::from_le_bytes(reader.array(what)?)),
            Self::U32 | Self::I32 | Self::F32 => i64::from(i32::from_le_bytes(reader.array(what)?)),
            Self::U64 | Self::I64 | Self::F64 => i64::from_le_bytes(reader.array(what)?),
        })
    }

    fn float(self, reader: &mut Reader<'_>, what: &str) -> Result<f64, WeightsError> {
        Ok(match self {
            Self::F32 => f64::from(f32::from_le_bytes(reader.array(what)?)),
            _ => f64::from_le_bytes(reader.array(what)?),
        })
    }
}
