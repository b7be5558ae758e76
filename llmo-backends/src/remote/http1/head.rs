//! The head of a response, from bytes that arrive in any pieces. Pure.

use http::StatusCode;

use super::error::Error;
use super::framing::{self, Framing};

/// Bytes of all heads of one response, those with status 1xx among them.
const MAX_HEAD_BYTES: usize = 64 << 10;
const MAX_FIELDS: usize = 128;

/// What a response begins with.
#[derive(Debug, PartialEq)]
pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    pub(super) fields: Fields,
    pub(super) framing: Framing,
    /// Another request may follow on the same connection.
    pub(super) keeps_alive: bool,
}

/// The fields of a head. Few of them are ever asked for: they are kept as text and searched.
#[derive(Debug, PartialEq)]
pub(in crate::remote) struct Fields(Vec<u8>);

impl Fields {
    fn new(fields: &[httparse::Header<'_>]) -> Self {
        let mut lines = Vec::with_capacity(fields.iter().map(|field| field.name.len() + field.value.len() + 2).sum());
        for field in fields {
            lines.extend_from_slice(field.name.as_bytes());
            lines.push(b':');
            // httparse lets no line end through.
            lines.extend_from_slice(field.value);
            lines.push(b'\n');
        }
        Self(lines)
    }

    /// The first field of this name (in lower case), if it is ASCII.
    pub(in crate::remote) fn get(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.as_slice();
        let found = loop {
            let (line, rest) = lines.split_at_checked(memchr::memchr(b'\n', lines)?)?;
            lines = rest.get(1..)?;
            let value = line.get(name.len()..).and_then(|value| value.strip_prefix(b":"));
            if let Some(value) = value.filter(|_| line[..name.len()].eq_ignore_ascii_case(name.as_bytes())) {
                break value.trim_ascii();
            }
        };
        std::str::from_utf8(found).ok().filter(|value| value.is_ascii())
    }
}

/// Reads heads until one is final.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    /// The begin of a head whose end has not come yet.
    held: Vec<u8>,
    /// Bytes of heads that were read.
    read: usize,
}

impl HeadReader {
    /// Has nothing of a response come?
    pub(super) fn is_untouched(&self) -> bool {
        self.held.is_empty() && self.read == 0
    }

    /// Takes the next bytes: the head, if they complete it, and how many of these bytes belong to it.
    ///
    /// # Errors
    /// [`Error::Malformed`]; the reader must not be used any more.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Option<(ResponseHead, usize)>, Error> {
        if self.held.is_empty() {
            let (head, used) = self.read_heads(bytes)?;
            if let Some(head) = head {
                return Ok(Some((head, used)));
            }
            return self.hold(&bytes[used..]).map(|()| None);
        }
        let before = self.held.len();
        self.hold(bytes)?;
        // Bytes that come one by one are not to be read from the start with each of them.
        if !ends_head(&self.held[before.saturating_sub(3)..]) {
            return Ok(None);
        }
        let held = std::mem::take(&mut self.held);
        let (head, used) = self.read_heads(&held)?;
        match head {
            Some(head) => Ok(Some((head, used.saturating_sub(before)))),
            None => self.hold(&held[used..]).map(|()| None),
        }
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.read + self.held.len() + bytes.len() > MAX_HEAD_BYTES {
            return Err(Error::Malformed("its head is too large"));
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    /// Reads heads until one is final or cut, and tells how many bytes were read.
    fn read_heads(&mut self, bytes: &[u8]) -> Result<(Option<ResponseHead>, usize), Error> {
        let mut used = 0;
        while used < bytes.len() {
            let Some((head, length)) = parse(&bytes[used..])? else { break };
            used += length;
            self.read += length;
            if self.read > MAX_HEAD_BYTES {
                return Err(Error::Malformed("its head is too large"));
            }
            if let Some(head) = head {
                return Ok((Some(head), used));
            }
        }
        Ok((None, used))
    }
}

/// Is there an empty line?
fn ends_head(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

/// The head at the begin of these bytes and its length, if it is complete; no head for one that only announces another.
fn parse(bytes: &[u8]) -> Result<Option<(Option<ResponseHead>, usize)>, Error> {
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(Error::Malformed(name(error))),
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Error::Malformed("its status is none"))?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::Malformed("it switched to a protocol that nobody asked for"));
    }
    if status.is_informational() {
        return Ok(Some((None, length)));
    }
    let framing = framing::framing(status, parsed.headers)?;
    let is_new = parsed.version == Some(1);
    // Version 1.0 has no chunks: whoever sends them with it may be wrong about their end, too.
    let has_end = matches!(framing, Framing::Length(_)) || framing == Framing::Chunked && is_new;
    let keeps_alive = has_end && framing::keeps_alive(is_new, parsed.headers);
    let fields = Fields::new(parsed.headers);
    Ok(Some((Some(ResponseHead { status, fields, framing, keeps_alive }), length)))
}

fn name(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::TooManyHeaders => "its head has too many fields",
        httparse::Error::Version => "its version is none",
        httparse::Error::Status => "its status is none",
        httparse::Error::HeaderName => "the name of a field is none",
        httparse::Error::HeaderValue => "the value of a field is none",
        _ => "its head is none",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The head, and what was left behind it.
    fn read(bytes: &[u8], size: usize) -> Result<Option<(ResponseHead, Vec<u8>)>, Error> {
        let mut reader = HeadReader::default();
        let mut at = 0;
        for piece in bytes.chunks(size) {
            if let Some((head, used)) = reader.push(piece)? {
                return Ok(Some((head, bytes[at + used..].to_vec())));
            }
            at += piece.len();
        }
        Ok(None)
    }

    const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Cache:  hit \r\nx-cache: miss\r\n\
        X-Odd: \xc5\xbc\r\nContent-Length: 4\r\n\r\nbody";

    #[test]
    fn fields_are_found_by_their_names() {
        let (head, rest) = read(GOOD, 4096).unwrap().unwrap();
        assert_eq!((head.status, head.framing, head.keeps_alive), (StatusCode::OK, Framing::Length(4), true));
        assert_eq!(head.fields.get("content-type"), Some("text/event-stream"));
        assert_eq!(head.fields.get("x-cache"), Some("hit"));
        assert_eq!((head.fields.get("x-odd"), head.fields.get("x-cach"), head.fields.get("")), (None, None, None));
        assert_eq!(rest, b"body");
    }

    #[test]
    fn heads_that_announce_others_are_skipped() {
        let mut bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".to_vec();
        bytes.extend_from_slice(GOOD);
        for size in [1, 2, 30, 4096] {
            let (head, rest) = read(&bytes, size).unwrap().unwrap();
            assert_eq!((head.status, &*rest), (StatusCode::OK, &b"body"[..]));
        }
        assert!(read(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 4096).is_err());
    }

    #[test]
    fn a_head_without_end_does_not_eat_the_memory() {
        let field = format!("x: {}\r\n", "y".repeat(1000));
        let endless = format!("HTTP/1.1 200 OK\r\n{}", field.repeat(70));
        let hints = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(4000);
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(129));
        for bytes in [endless, hints, many] {
            for size in [100, 1 << 20] {
                assert!(matches!(read(bytes.as_bytes(), size), Err(Error::Malformed(_))));
            }
        }
        let most = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(128));
        assert!(read(most.as_bytes(), 100).unwrap().is_some());
    }

    #[test]
    fn what_is_not_http_1_is_refused() {
        for bytes in [
            "SSH-2.0-nonsense\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n x: y\r\n\r\n",
        ] {
            assert!(read(bytes.as_bytes(), 4096).is_err(), "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn a_head_is_the_same_however_it_is_cut(size in 1..GOOD.len(), interim in 0..3_usize) {
            let mut bytes = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(interim);
            bytes.extend_from_slice(GOOD);
            prop_assert_eq!(read(&bytes, size).unwrap(), read(GOOD, 4096).unwrap());
        }

        #[test]
        fn a_damaged_head_never_panics(place: prop::sample::Index, byte: u8, size in 1..20_usize) {
            let mut bytes = GOOD.to_vec();
            let place = place.index(bytes.len());
            bytes[place] = byte;
            let _ = read(&bytes, size);
        }
    }
}
