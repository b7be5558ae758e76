//! Anthropic's dialect: `/v1/messages`, and the list of models as its clients want it.
//!
//! * [`messages`]: requests. [`MessageReply`]: answers and streams. [`error`]: error bodies. [`models`]: the list.
//! * `content`: blocks of a conversation. `tools`: functions.

mod content;
pub mod error;
pub mod messages;
pub mod models;
mod reply;
mod tools;

pub use reply::MessageReply;
