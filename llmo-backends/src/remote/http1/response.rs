//! The answer to a request while it comes in.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use tokio::net::TcpStream;

use super::body::Decoder;
use super::connection;
use super::error::Error;
use super::head::{Fields, ResponseHead};
use super::peer::Peer;

/// The head of an answer, and its body. Dropping the body before its end closes the connection.
#[derive(Debug)]
pub(in crate::remote) struct Response {
    pub(in crate::remote) status: StatusCode,
    pub(in crate::remote) fields: Fields,
    pub(in crate::remote) body: Body,
}

/// A body that is being read.
#[derive(Debug)]
pub(in crate::remote) struct Body {
    /// What came with the head.
    early: Bytes,
    decoder: Decoder,
    keeps_alive: bool,
    /// Gone as soon as the end was read, or can't be read any more.
    connection: Option<(TcpStream, Arc<Peer>)>,
    /// What is to be told once all data before it are.
    failure: Option<Error>,
}

impl Response {
    /// `bytes` came behind the head.
    pub(super) fn new(head: ResponseHead, bytes: &mut [u8]) -> Self {
        let mut body = Body {
            early: Bytes::new(),
            decoder: Decoder::new(head.framing),
            keeps_alive: head.keeps_alive,
            connection: None,
            failure: None,
        };
        if !bytes.is_empty() {
            let data = body.decode(bytes);
            body.early = Bytes::copy_from_slice(data);
        }
        Self { status: head.status, fields: head.fields, body }
    }
}

impl Body {
    /// The connection on which the rest comes; it can serve another request only if this one was sent to its end.
    pub(super) fn attach(&mut self, stream: TcpStream, peer: &Arc<Peer>, is_sent: bool) {
        self.keeps_alive &= is_sent;
        self.connection = Some((stream, Arc::clone(peer)));
        self.settle();
    }

    /// Gives the next bytes to `take`; `None` at the end. They are gone when it returns: a body that is waited for holds
    /// no buffer.
    ///
    /// # Errors
    /// [`Error::Broken`] and [`Error::Malformed`]; nothing follows.
    pub(in crate::remote) fn poll_data<R>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> R,
    ) -> Poll<Result<Option<R>, Error>> {
        if !self.early.is_empty() {
            return Poll::Ready(Ok(Some(take(&std::mem::take(&mut self.early)))));
        }
        let mut take = Some(take);
        loop {
            if let Some(failure) = self.failure.take() {
                return Poll::Ready(Err(failure));
            }
            let Some(connection) = self.connection.take() else { return Poll::Ready(Ok(None)) };
            let read = connection::poll_read(&connection.0, cx, |bytes| {
                let data = self.decode(bytes);
                if data.is_empty() { None } else { take.take().map(|take| take(data)) }
            });
            // A connection that broke is not put back.
            let taken = match read {
                Poll::Pending => {
                    self.connection = Some(connection);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(Some(taken))) => {
                    self.connection = Some(connection);
                    taken
                }
                Poll::Ready(Ok(None)) => {
                    self.failure = self.decoder.close().err();
                    None
                }
                Poll::Ready(Err(error)) => {
                    self.failure = Some(Error::Broken(error));
                    None
                }
            };
            self.settle();
            if let Some(taken) = taken {
                return Poll::Ready(Ok(Some(taken)));
            }
        }
    }

    /// The data among bytes of the connection.
    fn decode<'b>(&mut self, bytes: &'b mut [u8]) -> &'b [u8] {
        let decoded = self.decoder.decode(bytes);
        // What follows an answer that is over was not asked for, and would be taken for the next answer.
        self.keeps_alive &= decoded.used == bytes.len();
        self.failure = decoded.error;
        &bytes[decoded.data]
    }

    /// Lets go of the connection if nothing more is to be read from it.
    fn settle(&mut self) {
        if self.failure.is_some() {
            self.connection = None;
        } else if self.decoder.is_over()
            && let Some((stream, peer)) = self.connection.take()
            && self.keeps_alive
        {
            peer.put(stream);
        }
    }
}
