//! The languages that clients speak, translated to and from llmo-core's types. Pure: no sockets, no clocks.
//!
//! * [`openai`]: `/v1/…`, and between the gateway and model services.
//! * [`anthropic`][]: `/v1/messages`.
//! * [`ollama`]: most of `/api/…`. [`spec`]: `/api/generate` and `/api/health`, the plain dialect of the specification.
//! * [`call`]: what a request becomes. [`head`]: what every answer says of itself. [`reply`]: how answers are rendered.
//! * [`sse`]: events of a stream. [`model_name`]: names that could be asked for at all.
//! * `conversation`, `object`, `text_or`, `tools`: what several dialects have in common.
//!
//! Every translation has golden files in both directions under `tests/golden/`.

pub mod anthropic;
pub mod call;
mod conversation;
pub mod head;
pub mod model_name;
mod object;
pub mod ollama;
pub mod openai;
pub mod reply;
pub mod spec;
pub mod sse;
mod text_or;
mod tools;

pub use call::{Call, Form};
pub use head::Head;
pub use reply::Reply;

use serde_json::Value;

use crate::fault::Fault;

/// The dialect of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// OpenAI's, and that of everything that has no dialect of its own.
    OpenAi,
    /// `/v1/messages`.
    Anthropic,
    /// `/api`.
    Ollama,
    /// `/api/generate` and `/api/health`.
    Spec,
}

impl Dialect {
    /// The dialect that is spoken under `path`. A handler that knows better puts its own into the response's
    /// extensions: the body decides at `/api/generate`.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        match path {
            "/api/generate" | "/api/health" => Self::Spec,
            "/v1/messages" => Self::Anthropic,
            _ if path == "/api" || path.starts_with("/api/") => Self::Ollama,
            _ if path.starts_with("/v1/messages/") => Self::Anthropic,
            _ => Self::OpenAi,
        }
    }

    /// A fault in this dialect.
    #[must_use]
    pub fn error_body(self, fault: &Fault) -> Value {
        match self {
            Self::OpenAi => openai::error::body(fault),
            Self::Anthropic => anthropic::error::body(fault),
            Self::Ollama => ollama::error::body(fault),
            Self::Spec => spec::error::body(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_decides_the_dialect() {
        for (path, dialect) in [
            ("/api/generate", Dialect::Spec),
            ("/api/health", Dialect::Spec),
            ("/api", Dialect::Ollama),
            ("/api/chat", Dialect::Ollama),
            ("/apis", Dialect::OpenAi),
            ("/v1/messages", Dialect::Anthropic),
            ("/v1/messages/count_tokens", Dialect::Anthropic),
            ("/v1/messages2", Dialect::OpenAi),
            ("/v1/chat/completions", Dialect::OpenAi),
        ] {
            assert_eq!(Dialect::of_path(path), dialect, "{path}");
        }
    }
}
