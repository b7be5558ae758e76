//! A sequence of the context: what its KV cache holds and who uses it.

use std::time::Instant;

use llmo_core::model::TokenId;

use super::generation::Generation;
use super::prefix::{Rounding, Salt, Worth};

/// A sequence of the context.
pub(super) struct Slot {
    /// The tokens that the KV cache of this sequence holds, in order. Kept after a request, for the next with the same
    /// beginning.
    pub(super) cached: Vec<TokenId>,
    /// Who may reuse them.
    pub(super) salt: Salt,
    /// So many of them, from the first on, were computed by runs of one kind...
    alike: usize,
    /// ...which were long ones, as [`Rounding`] has it.
    pub(super) long: bool,
    /// How likely they are asked for again.
    pub(super) worth: Worth,
    /// The request that uses the slot.
    pub(super) generation: Option<Generation>,
    /// The request waits for the beginning of its prompt.
    pub(super) wait: Option<Wait>,
}

/// A request that waits for the beginning of its prompt and reads nothing meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) source: WaitSource,
    /// Then it reads its prompt by itself.
    pub(super) until: Instant,
}

/// Who brings the beginning of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitSource {
    /// This slot has read it when it holds so many tokens.
    Slot { from: usize, tokens: usize },
    /// The archive, under this number.
    Archive { number: u64 },
}

impl Slot {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            cached: Vec::new(),
            salt: Salt::default(),
            alike: 0,
            long: false,
            worth: Worth::new(now),
            generation: None,
            wait: None,
        }
    }

    pub(super) fn is_free(&self) -> bool {
        self.generation.is_none()
    }

    /// How many of the tokens that it holds may be reused at all.
    pub(super) fn alike(&self) -> usize {
        self.alike
    }

    /// Only the first `length` tokens are left.
    pub(super) fn truncate(&mut self, length: usize) {
        self.cached.truncate(length);
        self.alike = self.alike.min(self.cached.len());
    }

    /// These tokens are valid of those that a run of `run` tokens appended.
    pub(super) fn append(&mut self, tokens: impl IntoIterator<Item = TokenId>, run: usize, rounding: Rounding) {
        let before = self.cached.len();
        self.cached.extend(tokens);
        let long = rounding.is_long(run);
        if before == 0 {
            self.long = long;
        }
        if self.alike == before && self.long == long {
            self.alike = self.cached.len();
        }
    }

    /// It now holds the first `length` tokens of another slot, as far as those may be reused.
    pub(super) fn take_over(&mut self, tokens: Vec<TokenId>, long: bool, worth: Worth) {
        self.alike = tokens.len();
        self.cached = tokens;
        self.long = long;
        self.worth = worth;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llama_cpp::options::KvType;

    #[test]
    fn what_a_run_of_another_kind_appended_is_not_reused_nor_what_follows() {
        let tiles = Rounding::of(KvType::F16, true, false, true);
        let mut slot = Slot::new(Instant::now());
        slot.append(0..128, 128, tiles);
        slot.append(0..70, 70, tiles);
        assert_eq!((slot.alike(), slot.long), (198, true));
        slot.append([1], 1, tiles);
        slot.append(0..100, 100, tiles);
        assert_eq!((slot.alike(), slot.cached.len()), (198, 299));
        slot.truncate(150);
        assert_eq!(slot.alike(), 150);
        slot.append(0..64, 64, tiles);
        assert_eq!(slot.alike(), 214);
    }

    #[test]
    fn a_short_prompt_and_its_output_are_of_one_kind() {
        let tiles = Rounding::of(KvType::F16, true, false, true);
        let mut slot = Slot::new(Instant::now());
        slot.append(0..20, 20, tiles);
        slot.append([1], 1, tiles);
        assert_eq!((slot.alike(), slot.long), (21, false));
        slot.truncate(0);
        slot.append(0..64, 64, tiles);
        assert_eq!((slot.alike(), slot.long), (64, true));
    }
}
