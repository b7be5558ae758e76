//! A request body from a stream, with an eye on what really went out.

use std::sync::Arc;

use futures::StreamExt;
use llmo_core::store::{ByteStream, Result, StoreError};
use parking_lot::Mutex;
use reqwest::Body;

use crate::digest::{Digest, Summing};
use crate::stream_end::with_end;

/// What is known of a body that is, or was, being sent.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
enum State {
    Sending(Summing),
    Ended(Digest),
    Failed(Option<StoreError>),
}

impl Upload {
    /// Wraps a stream. If it fails, the body breaks off, and the service stores nothing.
    pub(super) fn new(data: ByteStream) -> (Self, Body) {
        let state = Arc::new(Mutex::new(State::Sending(Summing::default())));
        let upload = Self { state: Arc::clone(&state) };
        let watched = with_end(data).filter_map(move |step| {
            std::future::ready(match step {
                Some(Ok(piece)) => {
                    if let State::Sending(sum) = &mut *state.lock() {
                        sum.update(&piece);
                    }
                    Some(Ok(piece))
                }
                Some(Err(error)) => {
                    let message = error.to_string();
                    *state.lock() = State::Failed(Some(error));
                    Some(Err(std::io::Error::other(message)))
                }
                None => {
                    let mut state = state.lock();
                    if let State::Sending(sum) = &mut *state {
                        *state = State::Ended(std::mem::take(sum).finish());
                    }
                    None
                }
            })
        });
        (upload, Body::wrap_stream(watched))
    }

    /// What was sent, if all of it was; the error of the data if it failed.
    pub(super) fn outcome(&self) -> Result<Option<Digest>> {
        match &mut *self.state.lock() {
            State::Sending(_) => Ok(None),
            State::Ended(digest) => Ok(Some(digest.clone())),
            State::Failed(error) => match error.take() {
                Some(error) => Err(error),
                None => Ok(None),
            },
        }
    }
}
