//! `/v1/completions`.

mod prompt;
mod reply;
mod request;

pub use reply::CompletionReply;
pub use request::{Completion, parse};
