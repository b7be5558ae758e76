//! The languages that clients speak, translated to and from llmo-core's types. Pure: no sockets, no clocks.
//!
//! * [`openai`]: `/v1/…`, and between the gateway and model services.
//! * [`spec`]: `/api/…`, the plain dialect of the specification.
//! * [`call`]: what a request becomes. [`head`]: what every answer says of itself. [`sse`]: events of a stream.
//! * [`model_name`]: names that could be asked for at all.
//!
//! Every translation has golden files in both directions under `tests/golden/`.

pub mod call;
pub mod head;
pub mod model_name;
pub mod openai;
pub mod spec;
pub mod sse;

pub use call::{Call, Form};
pub use head::Head;

use serde_json::Value;

use crate::fault::Fault;

/// The dialect of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// OpenAI's, and that of everything that has no dialect of its own.
    OpenAi,
    /// `/api`.
    Spec,
}

impl Dialect {
    /// The dialect that is spoken under `path`.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        if path == "/api" || path.starts_with("/api/") { Self::Spec } else { Self::OpenAi }
    }

    /// A fault in this dialect.
    #[must_use]
    pub fn error_body(self, fault: &Fault) -> Value {
        match self {
            Self::OpenAi => openai::error::body(fault),
            Self::Spec => spec::error::body(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_decides_the_dialect() {
        assert_eq!(Dialect::of_path("/api/generate"), Dialect::Spec);
        assert_eq!(Dialect::of_path("/api"), Dialect::Spec);
        assert_eq!(Dialect::of_path("/apis"), Dialect::OpenAi);
        assert_eq!(Dialect::of_path("/v1/chat/completions"), Dialect::OpenAi);
    }
}
