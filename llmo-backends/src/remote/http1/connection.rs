//! Reads and writes a TCP connection, with as few system calls as that takes.

use std::cell::Cell;
use std::io::{self, IoSlice, Read};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes that are read at once.
const MOST_AT_ONCE: usize = 16 << 10;

thread_local! {
    /// Where bytes are read to. They don't stay longer than it takes to look at them, so that one buffer is enough for all
    /// the connections of a thread.
    static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Is there nothing to read, as there should be on a connection that waits for a request? Otherwise the upstream has closed
/// it, or has said something that nobody asked for.
pub(super) fn is_quiet(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Gives bytes to `take` once there are some; `None` when the upstream has closed the connection.
pub(super) fn poll_read<R>(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    take: impl FnOnce(&mut [u8]) -> R,
) -> Poll<io::Result<Option<R>>> {
    // Without a wait for readiness first, each poll would cost a system call.
    ready!(stream.poll_read_ready(cx))?;
    let scratch = SCRATCH.try_with(Cell::take).ok().flatten();
    let mut scratch = scratch.unwrap_or_else(|| vec![0; MOST_AT_ONCE].into());
    let read = loop {
        match try_read(stream, &mut scratch) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match stream.poll_read_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Poll::Ready(Err(error)),
            Ok(0) => break Poll::Ready(Ok(None)),
            Ok(n) => break Poll::Ready(Ok(Some(take(&mut scratch[..n])))),
        }
    };
    // A thread that is about to end has no place for it, and no use.
    let _ = SCRATCH.try_with(|place| place.set(Some(scratch)));
    read
}

/// Reads what is there. Where the kernel gives less than there is room for, it has no more, and nobody has to ask it again.
/// (Events come for edges: what arrives later comes with a new one. tokio's own `poll_read` does the same.)
fn try_read(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    let mut drained = None;
    let read = stream.try_io(Interest::READABLE, || {
        let n = (&*SockRef::from(stream)).read(room)?;
        if 0 < n && n < room.len() {
            drained = Some(n);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(n)
    });
    drained.map_or(read, Ok)
}

/// A request, and how much of it is sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    head: Vec<u8>,
    body: Bytes,
    sent: usize,
}

impl Outgoing {
    pub(super) fn new(head: Vec<u8>, body: Bytes) -> Self {
        Self { head, body, sent: 0 }
    }

    pub(super) fn is_sent(&self) -> bool {
        self.sent >= self.head.len() + self.body.len()
    }

    /// From the start, for another connection.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Sends what is left, head and body in one system call if the kernel takes them.
    pub(super) fn poll_send(&mut self, stream: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_sent() {
            ready!(stream.poll_write_ready(cx))?;
            let head = self.head.get(self.sent..).unwrap_or_default();
            let body = self.body.get(self.sent.saturating_sub(self.head.len())..).unwrap_or_default();
            match stream.try_write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => self.sent += n,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_idle_connection_is_quiet_until_its_other_end_speaks_or_leaves() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for speaks in [true, false] {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut other, _) = listener.accept().await.unwrap();
            assert!(is_quiet(&stream));
            if speaks {
                other.write_all(b"x").await.unwrap();
            } else {
                drop(other);
            }
            stream.readable().await.unwrap();
            assert!(!is_quiet(&stream));
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_closed_behind_its_last_bytes_is_not_quiet() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut other, _) = listener.accept().await.unwrap();
        other.write_all(b"last words").await.unwrap();
        drop(other);
        let read = std::future::poll_fn(|cx| poll_read(&stream, cx, |bytes| bytes.len())).await.unwrap();
        assert_eq!(read, Some(10));
        stream.readable().await.unwrap();
        assert!(!is_quiet(&stream));
    }
}
