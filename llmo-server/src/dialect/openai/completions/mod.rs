//! `/v1/completions`.

mod best_of;
mod prompt;
mod reply;
mod request;

pub(crate) use best_of::best;
pub use reply::CompletionReply;
pub use request::{Completion, parse};
