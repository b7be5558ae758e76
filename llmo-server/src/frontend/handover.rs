//! A body that is written on the task that reads it.
//!
//! HTTP/1 has one answer at a time on a connection. Whoever writes a stream needs no task of its own there, and no queue
//! between: hyper asks for the next piece when it has room, the generation is asked for its next event, and what comes goes
//! out, in one poll. A reader that does not read stops all that; the socket notices, and cuts the connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use parking_lot::Mutex;

/// What goes from hand to hand.
#[derive(Default)]
struct Slot {
    piece: Option<Bytes>,
    /// The end is that of a complete body.
    complete: bool,
}

/// The writing end.
pub(super) struct Hand(Arc<Mutex<Slot>>);

/// The body that this future writes by its [`Hand`]. It ends like a complete one only after [`Hand::end`].
pub(super) fn body<F>(write: impl FnOnce(Hand) -> F) -> Body
where
    F: Future<Output = ()> + Send + 'static,
{
    let slot = Arc::new(Mutex::new(Slot::default()));
    let writing = Some(Box::pin(write(Hand(Arc::clone(&slot)))));
    Body::new(Written { writing, slot })
}

impl Hand {
    /// Hands over a piece; resolves when the body has passed it on and is asked for the next one.
    pub(super) async fn write(&self, piece: Bytes) {
        self.0.lock().piece = Some(piece);
        // Nobody has to be woken: the body polls this again when there is room.
        std::future::poll_fn(|_| if self.0.lock().piece.is_some() { Poll::Pending } else { Poll::Ready(()) }).await;
    }

    /// Ends the body as a complete one.
    pub(super) fn end(&self) {
        self.0.lock().complete = true;
    }
}

struct Written<F> {
    writing: Option<Pin<Box<F>>>,
    slot: Arc<Mutex<Slot>>,
}

impl<F: Future<Output = ()>> http_body::Body for Written<F> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(writing) = &mut self.writing else { return Poll::Ready(None) };
        let over = writing.as_mut().poll(cx).is_ready();
        let (piece, complete) = {
            let mut slot = self.slot.lock();
            (slot.piece.take(), slot.complete)
        };
        if let Some(piece) = piece {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if !over {
            return Poll::Pending;
        }
        self.writing = None;
        let broken = || io::Error::new(io::ErrorKind::BrokenPipe, "the stream was broken off");
        Poll::Ready((!complete).then(|| Err(broken())))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn pieces_come_in_order_and_each_when_it_is_asked_for() {
        let written = Arc::new(Mutex::new(0));
        let count = Arc::clone(&written);
        let mut body = body(|hand| async move {
            for piece in ["a", "b", "c"] {
                *count.lock() += 1;
                hand.write(Bytes::from_static(piece.as_bytes())).await;
            }
            hand.end();
        });
        for (n, piece) in [(1, "a"), (2, "b"), (3, "c")] {
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
            assert_eq!(*written.lock(), n);
        }
        assert!(body.frame().await.is_none());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_body_is_complete_only_after_its_end() {
        let body = body(|hand| async move { hand.write(Bytes::from_static(b"a")).await });
        assert!(body.collect().await.is_err());
    }

    #[tokio::test]
    async fn what_writes_is_dropped_with_the_body() {
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let mut body = body(|_| async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        assert!(body.frame().now_or_never().is_none());
        assert_eq!(Arc::strong_count(&alive), 2);
        drop(body);
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
