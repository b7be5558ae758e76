//! A TCP connection that cuts a reader who does not read.
//!
//! The stream is shared with the connection's task, which can still say a last word (408) after hyper has let go.

use std::cell::Cell;
use std::future::Future;
use std::io::{self, IoSlice, Read};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::activity::Activity;

/// Bytes the kernel may hold back unsent. Without it, it takes megabytes for a client that reads nothing.
const UNSENT_BYTES: u32 = 16 << 10;
/// Bytes that are read at once.
const MOST_AT_ONCE: usize = 16 << 10;
/// A blocked client that takes this much is reading after all.
const PROGRESS_BYTES: usize = 16 << 10;

thread_local! {
    /// Where bytes are read to before they are copied to where they are wanted: that memory may not be initialised yet, and
    /// to do it for 8 KiB takes longer than to copy a request.
    static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// The server's side of a connection.
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    activity: Activity,
    write_timeout: Duration,
    blocked: Option<Pin<Box<Sleep>>>,
    written_since_blocked: usize,
}

impl Socket {
    pub(super) fn new(stream: Arc<TcpStream>, activity: Activity, write_timeout: Duration) -> Self {
        Self { stream, activity, write_timeout, blocked: None, written_since_blocked: 0 }
    }

    /// Writes with `attempt` once the kernel takes bytes; fails when it has not taken enough for too long.
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        wanted: usize,
        attempt: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.stream.poll_write_ready(cx) {
                Poll::Pending => return self.poll_blocked(cx),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {}
            }
            match attempt(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(n) => {
                    self.written_since_blocked += n;
                    if n >= wanted || self.written_since_blocked >= PROGRESS_BYTES {
                        self.blocked = None;
                        self.written_since_blocked = 0;
                    }
                    return Poll::Ready(Ok(n));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Reads what is there. Where the kernel gives less than there is room for, it has no more, and nobody has to ask it again,
    /// which would cost a system call for every request. (Events come for edges: what arrives later comes with a new one.
    /// tokio's own `poll_read` does the same, but wants the stream for itself.)
    fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        let mut drained = None;
        let read = self.stream.try_io(Interest::READABLE, || {
            let n = (&*SockRef::from(&*self.stream)).read(room)?;
            if 0 < n && n < room.len() {
                drained = Some(n);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(n)
        });
        drained.map_or(read, Ok)
    }

    fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let timeout = self.write_timeout;
        let timer = self.blocked.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

/// Sets what every accepted connection should have. A failure costs speed, not correctness.
pub(super) fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    // One event a packet: Nagle's algorithm would hold tokens back.
    let nodelay = socket.set_tcp_nodelay(true);
    let lowat = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
    if let Err(error) = nodelay.and(lowat) {
        tracing::debug!(%error, "could not tune a connection");
    }
}

/// Says a last word, as far as the kernel takes it at once.
pub(super) fn last_word(stream: &TcpStream, word: &[u8]) {
    if let Err(error) = stream.try_write(word) {
        tracing::trace!(%error, "last word was not taken");
    }
}

/// Reads on for a moment after the last response. Closing a socket that has unread bytes sends a reset, and the
/// client, still sending, would never see the response that tells why it was refused.
pub(super) async fn linger(stream: &TcpStream, moment: Duration, max_bytes: usize) {
    if SockRef::from(stream).shutdown(Shutdown::Write).is_err() {
        return;
    }
    let until = Instant::now() + moment;
    let mut scrap = vec![0_u8; 16 << 10];
    let mut read = 0;
    while read < max_bytes {
        match tokio::time::timeout_at(until, stream.readable()).await {
            Ok(Ok(())) => {}
            _ => return,
        }
        match stream.try_read(&mut scrap) {
            Ok(0) => return,
            Ok(n) => read += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.remaining().min(MOST_AT_ONCE);
        // Without a wait for readiness first, each poll would cost a system call.
        ready!(self.stream.poll_read_ready(cx))?;
        let mut scratch = SCRATCH.try_with(Cell::take).ok().flatten().unwrap_or_else(|| vec![0; MOST_AT_ONCE].into());
        let read = loop {
            match self.try_read(&mut scratch[..room]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match self.stream.poll_read_ready(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                    Poll::Pending => break Poll::Pending,
                },
                Ok(n) => {
                    buf.put_slice(&scratch[..n]);
                    if n > 0 {
                        self.activity.received(Instant::now());
                    }
                    break Poll::Ready(Ok(()));
                }
                Err(error) => break Poll::Ready(Err(error)),
            }
        };
        // A thread that is about to end has no place for it, and no use.
        let _ = SCRATCH.try_with(|place| place.set(Some(scratch)));
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, buf.len(), |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        self.poll_write_with(cx, wanted, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task closes the stream, after it has lingered.
        Poll::Ready(Ok(()))
    }
}
