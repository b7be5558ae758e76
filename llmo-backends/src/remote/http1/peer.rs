//! One upstream, and the connections to it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HeaderMap;
use parking_lot::Mutex;
use reqwest::Url;
use tokio::net::TcpStream;

use super::connect::Connector;
use super::connection::{Outgoing, is_quiet};
use super::error::Error;
use super::exchange::Exchange;
use super::idle::Idle;
use super::request::{Head, Template};
use super::response::Response;

/// An upstream. Idle connections are closed with the first request, or the first end of one, after their time.
#[derive(Debug)]
pub(in crate::remote) struct Peer {
    connector: Connector,
    template: Template,
    idle: Mutex<Idle<TcpStream>>,
}

impl Peer {
    /// Connects lazily. `always` goes with every request; at most `most_idle` connections are kept between requests.
    pub(in crate::remote) fn new(base: &Url, always: &HeaderMap, connect_timeout: Duration, most_idle: usize) -> Self {
        Self {
            connector: Connector::new(base, connect_timeout),
            template: Template::new(base, always),
            idle: Mutex::new(Idle::new(most_idle)),
        }
    }

    /// Begins a request for a path below the root, with a body of `length` bytes.
    ///
    /// # Errors
    /// [`Error::Unsendable`] for a path that isn't one.
    pub(in crate::remote) fn head(&self, path: &str, length: usize) -> Result<Head, Error> {
        self.template.post(path, length)
    }

    /// Sends a request and waits for the head of its answer. Dropping the future closes the connection.
    ///
    /// # Errors
    /// See [`Error`].
    pub(in crate::remote) async fn post(self: &Arc<Self>, head: Head, body: Bytes) -> Result<Response, Error> {
        let mut request = Outgoing::new(head.finish(), body);
        if let Some(stream) = self.take() {
            match self.exchange(stream, &mut request).await {
                // It was closed while it waited, which can be seen only now.
                Err(Error::Unanswered(_)) => request.rewind(),
                answered => return answered,
            }
        }
        // Boxed: connecting is rare, and its state is large.
        let stream = Box::pin(self.connector.open()).await?;
        self.exchange(stream, &mut request).await
    }

    async fn exchange(self: &Arc<Self>, stream: TcpStream, request: &mut Outgoing) -> Result<Response, Error> {
        let mut exchange = Exchange::new(stream, request);
        poll_fn(|cx| exchange.poll(cx, self)).await
    }

    /// An idle connection that is still good.
    fn take(&self) -> Option<TcpStream> {
        let now = Instant::now();
        loop {
            let (expired, stream) = {
                let mut idle = self.idle.lock();
                (idle.expired(now), idle.take())
            };
            // Closed without the lock.
            drop(expired);
            let stream = stream?;
            if is_quiet(&stream) {
                return Some(stream);
            }
        }
    }

    /// A connection that can serve another request.
    pub(super) fn put(&self, stream: TcpStream) {
        let now = Instant::now();
        let (expired, left_over) = {
            let mut idle = self.idle.lock();
            (idle.expired(now), idle.put(stream, now))
        };
        drop((expired, left_over));
    }
}
