//! Heads of requests that two servers could read differently: refused before hyper reads them its way.
//!
//! hyper forgives what RFC 9112 lets a server forgive: a bare LF, a length beside `transfer-encoding`, the same length
//! twice. Each is how requests are smuggled past whatever stands in front of us. The guard sees the bytes of a connection as
//! they come, and follows them through heads and bodies, so that it knows where each head begins, pipelined ones included.
//! Where a head is no good it spoils the bytes that hyper has not seen yet, from that head on, and hyper answers as it
//! answers everything that is no HTTP: 400, and the connection is closed. Requests before it are answered.
//!
//! Bodies are followed more strictly than hyper reads them: where the guard can't tell their end for sure it spoils them
//! too, so the two never disagree about where the next head is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The first bytes of HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// A stream whose heads are looked at.
pub(super) struct HeadGuard<S> {
    stream: S,
    wire: Wire,
    /// It was no good: hyper got so many bytes of something else so far.
    spoilt: Option<usize>,
}

impl<S> HeadGuard<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, wire: Wire::default(), spoilt: None }
    }
}

/// What a client sends, as far as it has come. Pure.
#[derive(Debug, Default)]
struct Wire {
    state: State,
    /// The line being read, without its end.
    line: Vec<u8>,
    /// The line is longer than what is kept of it.
    cut: bool,
    lines: usize,
    length: Option<u64>,
    encodings: usize,
    /// A request has gone by: the connection is HTTP/1's.
    used: bool,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum State {
    #[default]
    Head,
    /// So many bytes of a body are still to come; at least one.
    Body(u64),
    /// The line with the size of a chunk.
    Size,
    /// So many bytes of a chunk are still to come; at least one.
    Chunk(u64),
    /// The end of line behind a chunk.
    ChunkEnd,
    /// What may follow the last chunk.
    Trailers,
    /// HTTP/2: other rules.
    Multiplexed,
}

/// Two servers could read this differently.
#[derive(Debug, PartialEq, Eq)]
struct Ambiguous;

/// Writes over bytes, the first `done` of which were written over before: a NUL, which nothing in HTTP may hold, and the end
/// of a head, for which hyper waits before it looks. Returns how many have been written over now.
fn spoil(bytes: &mut [u8], done: usize) -> usize {
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = match done + at {
            0 => 0,
            odd if odd % 2 == 1 => b'\r',
            _ => b'\n',
        };
    }
    done + bytes.len()
}

/// Longest beginning of a line that matters: names of headers, and the value of one.
const MAX_LINE: usize = 64;

impl Wire {
    /// Takes bytes. If they are ambiguous: from where on, which is where their head begins, as far as it is among them.
    fn push(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let (mut at, mut begin) = (0, 0);
        while let Some(&byte) = bytes.get(at) {
            match &mut self.state {
                State::Multiplexed => return Ok(()),
                State::Body(left) | State::Chunk(left) => {
                    let there = (bytes.len() - at) as u64;
                    let taken = there.min(*left);
                    *left -= taken;
                    // No more than there are bytes.
                    at += usize::try_from(taken).unwrap_or(bytes.len());
                    begin = at;
                    match self.state {
                        State::Body(0) => self.state = State::Head,
                        State::Chunk(0) => self.state = State::ChunkEnd,
                        _ => {}
                    }
                }
                State::Head | State::Size | State::ChunkEnd | State::Trailers => {
                    let (state, lines) = (self.state, self.lines);
                    self.byte(byte).map_err(|Ambiguous| begin)?;
                    at += 1;
                    // A request without a body is followed by a head at once.
                    if self.state != state || self.lines < lines {
                        begin = at;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes a byte of a line.
    fn byte(&mut self, byte: u8) -> Result<(), Ambiguous> {
        if byte == b'\n' {
            return if self.line.pop() == Some(b'\r') { self.end_of_line() } else { Err(Ambiguous) };
        }
        if self.line.last() == Some(&b'\r') {
            return Err(Ambiguous);
        }
        if self.line.len() < MAX_LINE || byte == b'\r' {
            self.line.push(byte);
        } else {
            self.cut = true;
        }
        Ok(())
    }

    fn end_of_line(&mut self) -> Result<(), Ambiguous> {
        let (line, cut) = (std::mem::take(&mut self.line), std::mem::take(&mut self.cut));
        match self.state {
            State::Size => {
                let size = size(&line, cut)?;
                self.state = if size == 0 { State::Trailers } else { State::Chunk(size) };
            }
            State::ChunkEnd if line.is_empty() => self.state = State::Size,
            State::ChunkEnd => return Err(Ambiguous),
            State::Trailers if line.is_empty() => self.state = State::Head,
            State::Trailers => {}
            _ => self.head_line(&line, cut)?,
        }
        // Lines are short, and there are many: the next one needs no allocation.
        self.line = line;
        self.line.clear();
        Ok(())
    }

    fn head_line(&mut self, line: &[u8], cut: bool) -> Result<(), Ambiguous> {
        if self.lines == 0 {
            // Empty lines before a request are allowed.
            if line.is_empty() {
                return Ok(());
            }
            self.lines = 1;
            if !self.used && line.starts_with(&PREFACE[..PREFACE.len() - 2]) {
                self.state = State::Multiplexed;
            }
            return Ok(());
        }
        self.lines += 1;
        if line.is_empty() {
            let state = match (self.length, self.encodings) {
                (_, 1) => State::Size,
                (None | Some(0), _) => State::Head,
                (Some(length), _) => State::Body(length),
            };
            *self = Self { state, used: true, ..Self::default() };
            return Ok(());
        }
        let Some(colon) = line.iter().position(|&b| b == b':') else { return Ok(()) };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            if cut || self.length.is_some() {
                return Err(Ambiguous);
            }
            self.length = Some(number(value, 10).ok_or(Ambiguous)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.encodings += 1;
            if cut || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Ambiguous);
            }
        }
        if usize::from(self.length.is_some()) + self.encodings <= 1 { Ok(()) } else { Err(Ambiguous) }
    }
}

/// The size of a chunk; what follows a semicolon means nothing.
fn size(line: &[u8], cut: bool) -> Result<u64, Ambiguous> {
    let digits = match line.iter().position(|&byte| byte == b';') {
        Some(end) => &line[..end],
        None if cut => return Err(Ambiguous),
        None => line,
    };
    number(digits.trim_ascii_end(), 16).ok_or(Ambiguous)
}

/// Digits and nothing else.
fn number(text: &[u8], radix: u32) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, &byte| {
        let digit = char::from(byte).to_digit(radix)?;
        sum.checked_mul(radix.into())?.checked_add(digit.into())
    })
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadGuard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let mut fresh = &mut buf.filled_mut()[before..];
        if self.spoilt.is_none()
            && let Err(from) = self.wire.push(fresh)
        {
            fresh = &mut fresh[from..];
            self.spoilt = Some(0);
        }
        if let Some(done) = self.spoilt {
            self.spoilt = Some(spoil(fresh, done));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From where on it is ambiguous.
    fn pushed(bytes: &str) -> Result<(), usize> {
        let answer = Wire::default().push(bytes.as_bytes());
        // However it is cut, it is the same.
        let mut pieces = Wire::default();
        let whole = bytes.as_bytes().chunks(1).try_for_each(|piece| pieces.push(piece));
        assert_eq!(whole.is_ok(), answer.is_ok(), "{bytes:?}");
        answer
    }

    const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    const POST: &str = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\n{\"a\":1}";
    const CHUNKED: &str = "POST / HTTP/1.1\r\ntransfer-encoding:  Chunked \r\n\r\n3\r\n\n\r\n\r\nA;x=y\r\n0123456789\r\n0\r\nt: x\r\n\r\n";

    #[test]
    fn plain_requests_pass_one_behind_the_other() {
        for good in [
            GET,
            POST,
            CHUNKED,
            "\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n\nCL",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\n",
            "GET / HTTP/1.1\r\nx-content-length: 1\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert_eq!(pushed(good), Ok(()), "{good:?}");
        }
        assert_eq!(pushed(&[GET, POST, CHUNKED, POST, GET, "\r\n", CHUNKED, GET].concat()), Ok(()));
    }

    #[test]
    fn ambiguous_heads_do_not_wherever_they_are() {
        for bad in [
            "POST / HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 2\r\n",
            "POST / HTTP/1.1\r\ncontent-length: +2\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 0x2\r\n",
            "POST / HTTP/1.1\r\ncontent-length:\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 2                                                            3\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: xchunked\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: identity, chunked\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked                                        , identity\r\n",
            "GET / HTTP/1.1\nhost: x\r\n",
            "GET / HTTP/1.1\r\nhost: x\n",
            "GET / HTTP/1.1\r\nhost: x\ry: z\r\n",
        ] {
            assert_eq!(pushed(bad), Err(0), "{bad:?}");
            for before in [GET, POST, CHUNKED] {
                assert_eq!(pushed(&[before, bad].concat()), Err(before.len()), "{bad:?} behind {before:?}");
            }
        }
    }

    #[test]
    fn chunks_whose_end_is_unclear_do_not_pass() {
        let chunked = |chunks: &str| format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
        for bad in [
            "+2\r\n{}\r\n0\r\n\r\n",
            "0x2\r\n{}\r\n0\r\n\r\n",
            "\r\n",
            "2\n{}\r\n",
            "10000000000000002\r\n{}\r\n",
            "2\r\n{}x0\r\n\r\n",
            "2\r\n{}\n0\r\n\r\n",
            "0\r\n\n",
        ] {
            assert!(pushed(&chunked(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_spoilt_is_a_whole_head_that_no_parser_takes() {
        let (mut first, mut second) = (*b"x", *b"host: a\r\n");
        let done = spoil(&mut first, 0);
        assert_eq!((spoil(&mut second, done), &first, &second[..4]), (10, b"\0", &b"\r\n\r\n"[..]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_grow(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
            let mut wire = Wire::default();
            let _ = wire.push(&bytes);
            prop_assert!(wire.line.len() <= MAX_LINE + 1);
        }

        /// Bodies are never taken for heads, and heads never for bodies.
        #[test]
        fn where_a_request_ends_does_not_depend_on_what_its_body_says(
            bodies in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..40), any::<bool>()), 0..6),
            cuts in proptest::collection::vec(1_usize..30, 1..6),
        ) {
            let mut bytes = Vec::new();
            for (body, chunked) in &bodies {
                if *chunked {
                    bytes.extend_from_slice(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n");
                    for piece in body.chunks(7) {
                        bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                        bytes.extend_from_slice(piece);
                        bytes.extend_from_slice(b"\r\n");
                    }
                    bytes.extend_from_slice(b"0\r\n\r\n");
                } else {
                    bytes.extend_from_slice(format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
                    bytes.extend_from_slice(body);
                }
            }
            let (mut wire, mut rest, mut cuts) = (Wire::default(), &bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let cut = cuts.next().map_or(1, |cut| *cut).min(rest.len());
                prop_assert_eq!(wire.push(&rest[..cut]), Ok(()));
                rest = &rest[cut..];
            }
            prop_assert_eq!(wire.push(b"GET / HTTP/1.1\nhost: x\r\n"), Err(0));
        }
    }
}
