//! Answers of any dialect, as a whole or piece by piece.

use bytes::Bytes;
use llmo_core::model::{Delta, Finish};

use super::{openai, sse};
use crate::fault::Fault;

/// Renders the answer to one request, as a whole or piece by piece. Pure, but for what it remembers between pieces.
///
/// What a method returns as one piece is written at once; it may hold several events.
pub trait Reply: Send + 'static {
    /// The whole answer, as JSON; one text and finish a choice, in order.
    fn whole(&mut self, choices: &[(Delta, Finish)]) -> Bytes;

    /// The first event of a choice, if the dialect has one.
    fn open(&mut self, choice: usize) -> Option<Bytes>;

    /// The event of a piece of a choice; `None` if there is nothing to tell.
    fn piece(&mut self, choice: usize, delta: &Delta) -> Option<Bytes>;

    /// The event that ends a choice.
    fn finish(&mut self, choice: usize, finish: &Finish) -> Bytes;

    /// The events that end the stream, after all choices; `finishes` are in the order of choices.
    fn close(&mut self, finishes: &[Finish]) -> Vec<Bytes>;

    /// The event of a failure in the middle of the stream. Nothing follows it.
    fn failure(&mut self, fault: &Fault) -> Bytes {
        sse::error(&openai::error::body(fault))
    }

    /// What keeps a quiet stream open, if the dialect has something that its clients ignore.
    fn heartbeat(&self) -> Option<Bytes> {
        Some(sse::HEARTBEAT)
    }

    /// The content type of the stream.
    fn media_type(&self) -> &'static str {
        "text/event-stream"
    }
}
