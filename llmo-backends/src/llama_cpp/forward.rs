//! What the engine needs of a model: run tokens, give logits, forget tokens.

use llmo_core::model::TokenId;

/// One token to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Feed {
    /// The slot whose sequence it continues.
    pub(super) slot: u32,
    /// The token.
    pub(super) token: TokenId,
    /// How many tokens come before it in its sequence.
    pub(super) position: u32,
    /// Are its logits wanted?
    pub(super) logits: bool,
}

/// A run failed. The KV cache of every slot in it is in an unknown state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct ForwardError(pub(super) String);

/// A model with a KV cache for each slot. Implemented by llama.cpp's context, and by a fake in the engine's tests.
pub(super) trait Forward {
    /// Runs tokens. Slots ascend; the tokens of one slot are in order and follow what its cache holds.
    fn run(&mut self, feeds: &[Feed]) -> Result<(), ForwardError>;

    /// The logits of the feed at this index of the last run, which asked for them: one a token of the vocabulary.
    fn logits(&self, feed: usize) -> &[f32];

    /// Forgets all but the first `length` tokens of a slot. Gives how many are left: all of them, or none where the
    /// model can't forget a part (recurrent ones).
    fn keep(&mut self, slot: u32, length: u32) -> u32;

    /// Can it forget a part?
    fn forgets_parts(&self) -> bool {
        true
    }

    /// Replaces what a slot's cache holds by what another's does. False if that can't be: then the slot is empty.
    fn copy(&mut self, from: u32, to: u32) -> bool {
        let _ = from;
        self.keep(to, 0);
        false
    }

    /// Can sequences be copied and saved? Where only the end of a sequence is known (recurrent models, sliding windows),
    /// a copy could not be cut.
    fn can_copy(&self) -> bool {
        false
    }

    /// What a slot's cache holds, as bytes that [`restore`](Self::restore) takes. `None` if it can't be had.
    fn save(&mut self, slot: u32) -> Option<Vec<u8>> {
        let _ = slot;
        None
    }

    /// Replaces what a slot's cache holds by what [`save`](Self::save) gave, in this process or in another with the same
    /// model, build and shape. The bytes must be those, unchanged. False if they don't fit: then the slot is empty.
    fn restore(&mut self, slot: u32, state: &[u8]) -> bool {
        let _ = state;
        self.keep(slot, 0);
        false
    }
}
