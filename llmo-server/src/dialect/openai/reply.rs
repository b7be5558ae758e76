//! What chat and completions do alike when they answer.

use bytes::Bytes;
use llmo_core::model::{Delta, Finish};
use serde_json::Value;

/// Renders the answer to one request, as a whole or piece by piece. Pure, but for what it remembers between pieces.
pub trait Reply: Send + 'static {
    /// The whole answer; one text and finish a choice, in order.
    fn whole(&mut self, choices: &[(Delta, Finish)]) -> Value;

    /// The first event of a choice, if the dialect has one.
    fn open(&mut self, choice: usize) -> Option<Bytes>;

    /// The event of a piece of a choice; `None` if there is nothing to tell.
    fn piece(&mut self, choice: usize, delta: &Delta) -> Option<Bytes>;

    /// The event that ends a choice.
    fn finish(&mut self, choice: usize, finish: &Finish) -> Bytes;

    /// The events that end the stream, after all choices; `finishes` are in the order of choices.
    fn close(&mut self, finishes: &[Finish]) -> Vec<Bytes>;
}
