//! `/v1/chat/completions`.

mod calls;
mod message;
mod reply;
mod request;

pub use reply::ChatReply;
pub use request::parse;
