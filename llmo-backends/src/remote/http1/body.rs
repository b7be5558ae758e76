//! The bytes of a body, out of those of its connection. Pure.

use std::io;
use std::ops::Range;

use super::chunked::Chunked;
use super::error::Error;
use super::framing::Framing;

/// Takes the framing off a body.
#[derive(Debug)]
pub(super) enum Decoder {
    /// This many bytes are missing.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

/// What some bytes of a connection were.
#[derive(Debug)]
pub(super) struct Decoded {
    /// Where the data of the body lie now.
    pub(super) data: Range<usize>,
    /// So many belong to the body. Fewer than there were: it is over, or an error came.
    pub(super) used: usize,
    /// What came behind the data.
    pub(super) error: Option<Error>,
}

impl Decoder {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::default()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Has the body come to its end?
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_over(),
            Self::UntilClose => false,
        }
    }

    /// Takes the next bytes; data that lie apart are moved together.
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> Decoded {
        match self {
            Self::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= length as u64;
                Decoded { data: 0..length, used: length, error: None }
            }
            Self::Chunked(chunked) => {
                let (data, used, error) = chunked.decode(bytes);
                Decoded { data, used, error }
            }
            Self::UntilClose => Decoded { data: 0..bytes.len(), used: bytes.len(), error: None },
        }
    }

    /// The connection was closed, and the body had not come to its end.
    pub(super) fn close(&self) -> Result<(), Error> {
        match self {
            Self::UntilClose => Ok(()),
            _ => Err(Error::Broken(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection was closed in the middle of an answer",
            ))),
        }
    }
}
