//! A line of the ledger.

use serde::{Deserialize, Serialize};

/// What one request used. Neither prompts nor keys are part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// No other line has it: a line that comes twice, in copies of files say, is one. (Callers choose request ids, and may
    /// use one twice.)
    pub id: String,
    /// When the answer ended: UTC, RFC 3339, to the millisecond.
    pub time: String,
    /// The request's `x-request-id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Whose request it was, if anybody said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The model that answered.
    pub model: String,
    /// `generate`, `embed` or `rerank`.
    pub operation: String,
    /// Tokens of the prompt; of several choices of one prompt they count once. Not known of an answer that was broken off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Of these, tokens that a replica had read before.
    #[serde(skip_serializing_if = "is_none")]
    pub cached_tokens: u64,
    /// Tokens of the answer, all choices together.
    pub completion_tokens: u64,
    /// What the response cache did: `hit`, `miss`, `bypass`, `coalesced`. After a hit no replica worked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    /// `stop`, `length`, `tool_calls`; `cancelled` if the caller left; otherwise the error's name.
    pub ended: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_none(tokens: &u64) -> bool {
    *tokens == 0
}
