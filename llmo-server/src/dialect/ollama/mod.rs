//! Ollama's dialect: `/api/chat`, `/api/generate`, `/api/embed`, and what tells of models.
//!
//! * [`chat`], [`generate`], [`embed`]: requests. [`ChatReply`], [`GenerateReply`]: answers, streamed as lines of JSON
//!   unless `stream` is false. [`models`]: `/api/tags`, `/api/show`, `/api/ps`. [`pull`]: progress of a download.
//! * [`error`]: error bodies.
//! * `options`, `format`, `message`: what requests share. `timing`: what final lines share.
//!
//! `/api/generate` is also a path of the specification's plain dialect; [`generate::speaks`] tells the two apart.

pub mod chat;
pub mod embed;
pub mod error;
mod format;
pub mod generate;
mod line;
mod message;
pub mod models;
mod options;
pub mod pull;
mod reply;
mod tagged;
mod timing;

pub use line::line;
pub use reply::{ChatReply, GenerateReply};
pub(crate) use reply::{NDJSON, presence};
pub use tagged::untagged;

use crate::dialect::Call;
use llmo_core::model::KeepAlive;

/// The version of Ollama whose API this is: clients ask for it to know what they may use.
pub const API_VERSION: &str = "0.12.11";

/// What a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// Text.
    Generation(Call),
    /// Nothing but that a model is there, or goes: a request without a prompt.
    Presence(Presence),
}

/// A model that is to be loaded, or unloaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Presence {
    /// The name of the model; empty: the default model.
    pub model: String,
    /// How long it stays; zero: it goes.
    pub keep_alive: Option<KeepAlive>,
    /// Answered as a stream of one line.
    pub stream: bool,
}
