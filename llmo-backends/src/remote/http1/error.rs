//! What can go wrong between a request and the end of its answer.

use std::io;

/// Why there is no response, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(in crate::remote) enum Error {
    /// There is nobody to talk to.
    #[error("could not connect")]
    Connect(#[source] io::Error),
    /// The connection broke, and no byte of an answer had come.
    #[error("no answer came")]
    Unanswered(#[source] io::Error),
    /// The connection broke in the middle of an answer.
    #[error("the answer broke off")]
    Broken(#[source] io::Error),
    /// The answer is not HTTP/1, or can't be understood without doubt.
    #[error("the answer is no good HTTP: {0}")]
    Malformed(&'static str),
    /// The request holds what HTTP can't say.
    #[error("the request can't be sent: {0}")]
    Unsendable(&'static str),
}

impl Error {
    pub(in crate::remote) fn is_connect(&self) -> bool {
        matches!(self, Self::Connect(_))
    }
}
