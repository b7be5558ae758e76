//! The way from a generation to a reader.
//!
//! With HTTP/2 several answers share a connection, and only their bodies' own flow tells that nobody reads one of them. A
//! response body is only polled when hyper has room for it, so it can't notice itself. The task that fills a queue can: it
//! waits for room, and gives up. With HTTP/1 the socket notices, and pieces go [from hand to hand](super::handover).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::handover::Hand;

/// Most pieces that wait. The bound that matters is that of bytes; this one bounds the queue's own memory.
const MAX_PIECES: usize = 1024;

/// A piece, and the room it takes.
type Piece = (Bytes, OwnedSemaphorePermit);

/// The writing end.
pub(super) enum Outlet {
    /// To a connection of its own.
    Hand(Hand),
    /// To a shared one.
    Queue(Queue),
}

/// Bounded in bytes, and in the patience it has with the reader.
pub(super) struct Queue {
    pieces: mpsc::Sender<Piece>,
    room: Arc<Semaphore>,
    bytes: usize,
    patience: Duration,
}

/// Why nothing more can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// The reader has left.
    Left,
    /// The reader does not read.
    Stalled,
}

/// A queue of this many bytes and this much patience, and the body that empties it.
///
/// The body ends like a complete one only after [`Outlet::end`]; a queue that is just dropped breaks it off, so that
/// no reader takes a part for the whole.
pub(super) fn queue(bytes: usize, patience: Duration) -> (Queue, Body) {
    let (pieces, mut waiting) = mpsc::channel::<Piece>(MAX_PIECES);
    let queue = Queue { pieces, room: Arc::new(Semaphore::new(bytes)), bytes, patience };
    let mut ended = false;
    let body = stream::poll_fn(move |cx| {
        waiting.poll_recv(cx).map(|piece| match piece {
            Some((piece, _)) if piece.is_empty() => {
                ended = true;
                waiting.close();
                None
            }
            Some((piece, _)) => Some(Ok(piece)),
            None if ended => None,
            None => Some(Err(io::Error::new(io::ErrorKind::BrokenPipe, "the stream was broken off"))),
        })
    });
    (queue, Body::from_stream(body))
}

impl Outlet {
    /// Writes a piece once there is room.
    pub(super) async fn write(&self, piece: Bytes) -> Result<(), Closed> {
        match self {
            Self::Hand(hand) => {
                hand.write(piece).await;
                Ok(())
            }
            Self::Queue(queue) => queue.write(piece).await,
        }
    }

    /// Ends the body as a complete one.
    pub(super) async fn end(self) -> Result<(), Closed> {
        match self {
            Self::Hand(hand) => {
                hand.end();
                Ok(())
            }
            Self::Queue(queue) => queue.end().await,
        }
    }

    /// Waits until the reader has left. A writer whose body it is itself leaves with it.
    pub(super) async fn left(&self) {
        match self {
            Self::Hand(_) => std::future::pending().await,
            Self::Queue(queue) => queue.left().await,
        }
    }
}

impl Queue {
    async fn write(&self, piece: Bytes) -> Result<(), Closed> {
        let needed = u32::try_from(piece.len().min(self.bytes)).unwrap_or(u32::MAX);
        let writing = async {
            let room = Arc::clone(&self.room).acquire_many_owned(needed).await.map_err(|_| Closed::Left)?;
            self.pieces.send((piece, room)).await.map_err(|_| Closed::Left)
        };
        tokio::select! {
            biased;
            () = self.pieces.closed() => Err(Closed::Left),
            written = tokio::time::timeout(self.patience, writing) => written.unwrap_or(Err(Closed::Stalled)),
        }
    }

    async fn end(self) -> Result<(), Closed> {
        self.write(Bytes::new()).await
    }

    async fn left(&self) {
        self.pieces.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_read_stalls_the_writer_after_the_bound_in_bytes() {
        let (outlet, _body) = queue(1000, PATIENCE);
        let mut written = 0;
        let closed = loop {
            match outlet.write(Bytes::from_static(&[0; 100])).await {
                Ok(()) => written += 100,
                Err(closed) => break closed,
            }
        };
        assert_eq!((written, closed), (1000, Closed::Stalled));
    }

    #[tokio::test(start_paused = true)]
    async fn a_piece_larger_than_the_outlet_passes_alone() {
        let (outlet, mut body) = queue(10, PATIENCE);
        outlet.write(Bytes::from_static(&[1; 100])).await.unwrap();
        assert_eq!(outlet.write(Bytes::from_static(b"x")).await, Err(Closed::Stalled));
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap().len(), 100);
        outlet.write(Bytes::from_static(b"x")).await.unwrap();
    }

    #[tokio::test]
    async fn a_body_is_complete_only_after_its_end() {
        let (outlet, body) = queue(10, PATIENCE);
        outlet.write(Bytes::from_static(b"a")).await.unwrap();
        outlet.end().await.unwrap();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "a");

        let (outlet, body) = queue(10, PATIENCE);
        outlet.write(Bytes::from_static(b"a")).await.unwrap();
        drop(outlet);
        assert!(body.collect().await.is_err());
    }

    #[tokio::test]
    async fn a_reader_that_leaves_is_noticed_at_once() {
        let (outlet, body) = queue(10, PATIENCE);
        drop(body);
        outlet.left().await;
        assert_eq!(outlet.write(Bytes::from_static(b"a")).await, Err(Closed::Left));
    }
}
