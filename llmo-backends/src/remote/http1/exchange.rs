//! A request on one connection, until the head of its answer has come.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::TcpStream;

use super::connection::{self, Outgoing};
use super::error::Error;
use super::head::HeadReader;
use super::peer::Peer;
use super::response::Response;

/// Sends and reads at once: an upstream may refuse a request that it has not read to the end. Once the head of an answer has
/// come, nothing more is sent.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    /// Gone once it is the response's.
    stream: Option<TcpStream>,
    request: &'a mut Outgoing,
    head: HeadReader,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(stream: TcpStream, request: &'a mut Outgoing) -> Self {
        Self { stream: Some(stream), request, head: HeadReader::default() }
    }

    /// Ready with the response, or with why there is none. Must not be polled again then.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, peer: &Arc<Peer>) -> Poll<Result<Response, Error>> {
        let Some(stream) = &self.stream else { return Poll::Ready(Err(Error::Unanswered(closed()))) };
        let unsent = match self.request.poll_send(stream, cx) {
            Poll::Ready(Err(error)) => Some(error),
            _ => None,
        };
        loop {
            let head = &mut self.head;
            let read = connection::poll_read(stream, cx, |bytes| {
                let found = head.push(bytes)?;
                Ok(found.map(|(head, used)| Response::new(head, &mut bytes[used..])))
            });
            match read {
                Poll::Ready(Ok(Some(Ok(None)))) => {}
                Poll::Ready(Ok(Some(Ok(Some(mut response))))) => {
                    if let Some(stream) = self.stream.take() {
                        response.body.attach(stream, peer, self.request.is_sent());
                    }
                    return Poll::Ready(Ok(response));
                }
                Poll::Ready(Ok(Some(Err(error)))) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(None)) => return Poll::Ready(Err(self.broken(unsent.unwrap_or_else(closed)))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.broken(unsent.unwrap_or(error)))),
                // It has not said why it reads no more, and won't.
                Poll::Pending => {
                    return unsent.map_or(Poll::Pending, |error| Poll::Ready(Err(self.broken(error))));
                }
            }
        }
    }

    fn broken(&self, error: io::Error) -> Error {
        if self.head.is_untouched() { Error::Unanswered(error) } else { Error::Broken(error) }
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed before an answer came")
}
