//! Heads of requests that two servers could read differently: refused before hyper reads them its way.
//!
//! hyper forgives what RFC 9112 lets a server forgive: a bare LF, a length beside `transfer-encoding`, the same length
//! twice. Each is how requests are smuggled past whatever stands in front of us. The guard sees the bytes of a connection
//! up to the end of a head; where a head is no good it spoils the bytes that hyper has not seen yet, and hyper answers as
//! it answers everything that is no HTTP: 400, and the connection is closed. After a head it sleeps until the request is
//! over; what a client has pipelined behind it is read by hyper's rules only, which close the connection after a
//! request with both kinds of length.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;

/// The first bytes of HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// A stream whose heads are looked at.
pub(super) struct HeadGuard<S> {
    stream: S,
    activity: Activity,
    head: Head,
}

impl<S> HeadGuard<S> {
    pub(super) fn new(stream: S, activity: Activity) -> Self {
        Self { stream, activity, head: Head::default() }
    }
}

/// A head as far as it has come. Pure.
#[derive(Debug, Default)]
struct Head {
    state: State,
    /// The line being read, without its end.
    line: Vec<u8>,
    lines: usize,
    lengths: usize,
    encodings: usize,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum State {
    #[default]
    Reading,
    /// The head is complete, and the request runs.
    Passed,
    /// HTTP/2: other rules.
    Multiplexed,
    /// It was no good: hyper gets this many bytes of something else so far.
    Spoilt(usize),
}

/// Writes over bytes of a head, the first `done` of which were written over before: a NUL, which nothing in HTTP may hold, and
/// the end of a head, for which hyper waits before it looks. Returns how many have been written over now.
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

impl Head {
    /// Takes bytes; false if the head is ambiguous.
    fn push(&mut self, bytes: &[u8]) -> bool {
        for &byte in bytes {
            if self.state != State::Reading {
                return true;
            }
            if byte == b'\n' {
                if self.line.pop() != Some(b'\r') || !self.end_of_line() {
                    return false;
                }
            } else if self.line.last() == Some(&b'\r') {
                return false;
            } else if self.line.len() < MAX_LINE || byte == b'\r' {
                self.line.push(byte);
            }
        }
        true
    }

    fn end_of_line(&mut self) -> bool {
        let line = std::mem::take(&mut self.line);
        if self.lines == 0 {
            // Empty lines before a request are allowed.
            if line.is_empty() {
                return true;
            }
            self.lines = 1;
            if line.starts_with(&PREFACE[..PREFACE.len() - 2]) {
                self.state = State::Multiplexed;
            }
            return true;
        }
        self.lines += 1;
        if line.is_empty() {
            *self = Self { state: State::Passed, ..Self::default() };
            return true;
        }
        let Some(colon) = line.iter().position(|&b| b == b':') else { return true };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.encodings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return false;
            }
        }
        self.lengths + self.encodings <= 1
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadGuard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if self.head.state == State::Passed && self.activity.is_idle() {
            self.head = Head::default();
        }
        let fresh = &mut buf.filled_mut()[before..];
        if self.head.state == State::Reading && !self.head.push(fresh) {
            self.head.state = State::Spoilt(0);
        }
        if let State::Spoilt(done) = self.head.state {
            self.head.state = State::Spoilt(spoil(fresh, done));
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

    fn passes(head: &str) -> bool {
        let mut whole = Head::default();
        let answer = whole.push(head.as_bytes());
        // However it is cut, it is the same head.
        let mut pieces = Head::default();
        assert_eq!(head.as_bytes().chunks(1).all(|piece| pieces.push(piece)), answer, "{head:?}");
        answer
    }

    #[test]
    fn plain_heads_pass() {
        for good in [
            "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
            "\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n\nCL",
            "POST / HTTP/1.1\r\nhost: x\r\nTransfer-Encoding:  Chunked \r\n\r\n0\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\n",
            "GET / HTTP/1.1\r\nx-content-length: 1\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert!(passes(good), "{good:?}");
        }
    }

    #[test]
    fn ambiguous_heads_do_not() {
        for bad in [
            "POST / HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 2\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: xchunked\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: identity, chunked\r\n",
            "GET / HTTP/1.1\nhost: x\r\n",
            "GET / HTTP/1.1\r\nhost: x\n",
            "GET / HTTP/1.1\r\nhost: x\ry: z\r\n",
        ] {
            assert!(!passes(bad), "{bad:?}");
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
            let mut head = Head::default();
            head.push(&bytes);
            prop_assert!(head.line.len() <= MAX_LINE + 1);
        }
    }
}
