//! HTTP/1.1 to one upstream, over plain TCP, in the task of whoever asks: no task for a connection, no channels.
//!
//! ```text
//!  request ─► exchange ─► connection ─► upstream
//!               │  ▲ head      │ bytes
//!               ▼  │           ▼
//!             response ◄─ body (length, chunked, until close)
//!               │ read to its end
//!               ▼
//!             idle ─► the next request
//! ```
//!
//! * Pure: [`request`] (what is written), [`head`] and [`framing`] (what an answer begins with, and how long it is),
//!   [`body`] and [`chunked`] (its bytes), [`idle`] (which connections wait for work).
//! * I/O: [`connect`], [`connection`], [`exchange`] (a request and the head of its answer), [`response`], [`peer`].
//!
//! A request on a connection that had waited is sent once more, on a new one, if the connection turns out to be closed
//! before any byte of an answer came. Nothing else is repeated. Dropping a request, or a response before its end, closes
//! the connection. A stream that waits for its next token holds no buffer.
//!
//! Not here: TLS, HTTP/2, proxies, redirects, upgrades, requests without a body.

mod body;
mod chunked;
mod connect;
mod connection;
#[cfg(test)]
mod cost;
mod error;
mod exchange;
mod framing;
mod head;
mod idle;
mod peer;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub(super) use error::Error;
pub(super) use head::Fields;
pub(super) use peer::Peer;
pub(super) use request::Head;
pub(super) use response::{Body, Response};
