//! The chunked transfer coding (RFC 9112, 7.1), from bytes that arrive in any pieces. Pure.
//!
//! Extensions and trailers are skipped. Line ends must be CR LF: where a lone LF ends a line for some and not for
//! others, two readers can see two different bodies.

use std::ops::Range;

use super::error::Error;

/// Bytes of all extensions and trailers of one body.
const MAX_SKIPPED: usize = 16 << 10;

/// Undoes the coding. After an error it must not be used any more.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    skipped: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Before a digit of a size; has there been one?
    Size {
        size: u64,
        some: bool,
    },
    /// Behind a size: blanks may follow.
    Blank(u64),
    Extension(u64),
    /// Before the LF that ends a size.
    SizeEnd(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// At the begin of a line behind the last chunk.
    Trailers,
    Trailer,
    TrailerEnd,
    /// Before the LF of the empty line.
    LastLf,
    End,
}

impl Default for Chunked {
    fn default() -> Self {
        Self { state: State::Size { size: 0, some: false }, skipped: 0 }
    }
}

impl Chunked {
    pub(super) fn is_over(&self) -> bool {
        self.state == State::End
    }

    /// Takes the next bytes: where among them the data lie now, and how many bytes belong to the body. With an error come
    /// the data before it.
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> (Range<usize>, usize, Option<Error>) {
        let mut data = 0..0;
        let mut at = 0;
        while at < bytes.len() && self.state != State::End {
            let State::Data(left) = self.state else {
                match self.step(bytes[at]) {
                    Ok(next) => self.state = next,
                    Err(error) => return (data, at, Some(error)),
                }
                at += 1;
                continue;
            };
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
            if data.is_empty() {
                data = at..at + length;
            } else {
                bytes.copy_within(at..at + length, data.end);
                data.end += length;
            }
            at += length;
            self.state = match left - length as u64 {
                0 => State::DataCr,
                left => State::Data(left),
            };
        }
        (data, at, None)
    }

    /// One byte that is no data.
    fn step(&mut self, byte: u8) -> Result<State, Error> {
        use State::*;
        Ok(match (self.state, byte) {
            (Size { size, .. }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                let size = size.checked_mul(16).ok_or(Error::Malformed("the size of a chunk is too large"))?;
                Size { size: size + digit, some: true }
            }
            (Size { size, some: true } | Blank(size), b' ' | b'\t') => {
                self.skip()?;
                Blank(size)
            }
            (Size { size, some: true } | Blank(size), b';') => Extension(size),
            (Size { size, some: true } | Blank(size) | Extension(size), b'\r') => SizeEnd(size),
            (Extension(size), byte) if byte != b'\n' => {
                self.skip()?;
                Extension(size)
            }
            (SizeEnd(0), b'\n') => Trailers,
            (SizeEnd(size), b'\n') => Data(size),
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => Size { size: 0, some: false },
            (Trailers, b'\r') => LastLf,
            (LastLf, b'\n') => End,
            (Trailer, b'\r') => TrailerEnd,
            (TrailerEnd, b'\n') => Trailers,
            (Trailers | Trailer, byte) if byte != b'\n' => {
                self.skip()?;
                Trailer
            }
            (Size { .. } | Blank(_), _) => return Err(Error::Malformed("the size of a chunk is none")),
            _ => return Err(Error::Malformed("a line end is missing between two chunks")),
        })
    }

    fn skip(&mut self) -> Result<(), Error> {
        self.skipped += 1;
        if self.skipped > MAX_SKIPPED {
            return Err(Error::Malformed("its chunks have too much beside their data"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data, the bytes behind the body, whether it was complete, and whether it was good.
    fn decode(bytes: &[u8], sizes: &[usize]) -> (Vec<u8>, usize, bool, bool) {
        let mut chunked = Chunked::default();
        let (mut data, mut rest) = (Vec::new(), bytes);
        for size in sizes.iter().cycle() {
            if rest.is_empty() || chunked.is_over() {
                break;
            }
            let (piece, behind) = rest.split_at((*size).min(rest.len()));
            let mut piece = piece.to_vec();
            let (range, used, error) = chunked.decode(&mut piece);
            data.extend_from_slice(&piece[range]);
            if error.is_some() {
                return (data, 0, false, false);
            }
            assert!(used == piece.len() || chunked.is_over());
            rest = &rest[used..];
            if used < piece.len() {
                break;
            }
            rest = behind;
        }
        (data, rest.len(), chunked.is_over(), true)
    }

    #[test]
    fn extensions_and_trailers_are_skipped() {
        let body = b"3;a=b\r\nabc\r\n0A \t; x=\"y\"\r\n0123456789\r\n000\r\nx: y\r\nz: \r\n\r\nrest";
        for size in [1, 2, 3, 100] {
            assert_eq!(decode(body, &[size]), (b"abc0123456789".to_vec(), 4, true, true));
        }
    }

    #[test]
    fn an_error_comes_after_the_data_before_it() {
        for bad in [
            "3\r\nabc\r\nzz",
            "3\r\nabcd",
            "3\r\nabc\r\n\r\n",
            "3\r\nabc\r\n1\n",
            "3\r\nabc\r\n1;x\ny",
            "3\r\nabc\r\n-1\r\n",
        ] {
            assert_eq!(decode(bad.as_bytes(), &[100]), (b"abc".to_vec(), 0, false, false), "{bad:?}");
        }
    }

    #[test]
    fn sizes_beyond_all_bounds_are_refused() {
        assert!(!decode(b"10000000000000000\r\n", &[100]).3);
        assert!(decode(b"ffffffffffffffff\r\nabc", &[100]).3);
        let endless = [b"1;".to_vec(), vec![b'x'; MAX_SKIPPED + 1]].concat();
        assert!(!decode(&endless, &[100]).3);
        let trailers = [b"0\r\n".to_vec(), b"x: y\r\n".repeat(MAX_SKIPPED / 4 + 1)].concat();
        assert!(!decode(&trailers, &[100]).3);
    }

    proptest! {
        #[test]
        fn what_is_coded_is_decoded_however_it_is_cut(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            sizes in prop::collection::vec(1..50_usize, 1..5),
            trailer in "(x: [a-z]{0,5}\r\n){0,2}",
        ) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                coded.extend_from_slice(chunk);
                coded.extend_from_slice(b"\r\n");
            }
            coded.extend_from_slice(format!("0\r\n{trailer}\r\nHTTP").as_bytes());
            prop_assert_eq!(decode(&coded, &sizes), (chunks.concat(), 4, true, true));
        }

        #[test]
        fn any_bytes_mean_the_same_however_they_are_cut(
            bytes in prop::collection::vec(prop::sample::select(b"012aF; x:\r\n\r\n".to_vec()), 0..80),
            sizes in prop::collection::vec(1..9_usize, 1..5),
        ) {
            prop_assert_eq!(decode(&bytes, &sizes), decode(&bytes, &[100]));
        }
    }
}
