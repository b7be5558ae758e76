//! What the output must look like.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A format that the output is held to, token by token.
///
/// A backend that can't enforce a constraint refuses the request; it never answers with unconstrained text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Constraint {
    /// Any JSON object.
    JsonObject,
    /// JSON that this schema accepts.
    JsonSchema(Value),
    /// Text that this regular expression matches as a whole.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// A grammar in llama.cpp's GBNF; the rule `root` is the whole output.
    Gbnf(String),
    /// A grammar in llguidance's Lark dialect; the rule `start` is the whole output.
    Lark(String),
}
