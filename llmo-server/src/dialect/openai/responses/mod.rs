//! `/v1/responses`, without memory: every request carries its whole conversation.
//!
//! * `request`, `input`, `tools`: requests. `echo`: what an answer repeats of its request. `reply`: answers;
//!   `events`: how they stream.

mod echo;
mod events;
mod input;
mod reply;
mod request;
mod tools;

pub use echo::Echo;
pub use reply::ResponseReply;
pub(crate) use request::NAMES;
pub use request::{ResponseCall, parse};
