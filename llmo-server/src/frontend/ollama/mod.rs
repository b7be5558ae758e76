//! Ollama's part of `/api/…`.
//!
//! * `generation`: `/api/chat`, and `/api/generate` in Ollama's form. `embed`: vectors. `library`: what there is, what
//!   runs, and fetching more.

mod embed;
mod generation;
mod library;

pub(super) use embed::{embed, embeddings};
pub(super) use generation::{chat, generate};
pub(super) use library::{head, not_implemented, pull, root, running, show, tags, version};

use llmo_core::ModelError;

use super::context::Context;
use super::state::Frontend;
use crate::dialect::ollama::untagged;
use crate::fault::Fault;

/// The model's name without the tag `:latest`, unless there is a model that is called so.
async fn name(frontend: &Frontend, context: &Context, asked: String) -> String {
    let Some(plain) = untagged(&asked) else { return asked };
    match frontend.find(&asked, context).await {
        Err(Fault::Model(ModelError::NotFound { .. })) => plain.to_owned(),
        _ => asked,
    }
}
