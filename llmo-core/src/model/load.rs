//! How busy a model is.

use serde::{Deserialize, Serialize};

use super::Residence;

/// A snapshot of a model's load. All counts are of this moment.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Load {
    /// Sequences that can be decoded at once.
    pub slots: u32,
    /// Of these, how many are free.
    pub slots_free: u32,
    /// Requests that wait for a slot.
    pub queued_requests: u32,
    /// Prompt tokens of the waiting requests.
    pub queued_tokens: u64,
    /// Used share of the KV cache, 0.0 to 1.0.
    pub kv_used: f32,
    /// Prompt tokens that were looked up in the prefix cache since the start.
    pub prefix_query_tokens: u64,
    /// Of these, how many were found and not computed again.
    pub prefix_hit_tokens: u64,
    /// Prompt tokens that were computed since the start.
    pub prefill_tokens: u64,
    /// Tokens generated since the start.
    pub decode_tokens: u64,
    /// Tokens that were guessed ahead (speculative decoding) since the start.
    pub draft_tokens: u64,
    /// Of these, how many were right.
    pub draft_accepted_tokens: u64,
    /// Is it in memory? `None`: it always is, or nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residence: Option<Residence>,
}

impl Load {
    /// An idle model with `slots` slots.
    #[must_use]
    pub fn idle(slots: u32) -> Self {
        Self { slots, slots_free: slots, ..Self::default() }
    }

    /// Requests in slots and in the queue.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.slots.saturating_sub(self.slots_free) + self.queued_requests
    }
}
