//! How much of a sequence may be reused without changing the output.
//!
//! llama.cpp's attention rounds differently for short and for long runs of tokens (measured on its CPU kernels, with
//! SmolLM2 Q4_1, as the largest difference of a logit against the whole prompt in one run):
//!
//! | KV cache, attention | runs that give the very same logits | otherwise off by |
//! |---|---|---|
//! | q8_0, flash | all, single tokens too | - |
//! | f16, plain | of 2 tokens and more | 0.4 to 0.6 |
//! | f16, flash | of 64 and more; or all shorter ones among each other | 0.4 to 0.8 |
//!
//! Half a unit is enough to turn a greedy answer into another. So a prompt reuses only what was computed by runs of the
//! kind that it would be read in itself, and leaves enough unread for a last run of that kind. With an 8-bit cache that
//! is everything but the last token; with 16 bits and flash attention, the last 64 tokens of a prompt are always read,
//! and what was generated is read again when a conversation goes on (at the speed of prompts, not of generation).
//!
//! llmo's own attention (`llama_cpp/tiles`) rounds all runs alike, so where it computes, everything but the last token is reused.

use crate::llama_cpp::options::KvType;

/// From which length on a run of tokens rounds like a whole prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super::super) struct Rounding {
    long: usize,
}

impl Rounding {
    /// What llama.cpp's CPU kernels do, or ours where flash attention is `steady`. If output need not be `exact`, everything
    /// counts as alike.
    pub(in super::super::super) fn of(kv_type: KvType, flash_attention: bool, steady: bool, exact: bool) -> Self {
        let long = match (kv_type, flash_attention) {
            _ if !exact => 1,
            (_, true) if steady => 1,
            (KvType::Q8_0, _) => 1,
            (KvType::F16, false) => 2,
            (KvType::F16, true) => 64,
        };
        Self { long }
    }

    /// The shortest run that rounds like a whole prompt.
    pub(in super::super::super) fn shortest(self) -> usize {
        self.long
    }

    /// Does a run of this many tokens round as long ones do?
    pub(in super::super) fn is_long(self, run: usize) -> bool {
        run >= self.long
    }

    /// How many of the first `common` tokens a prompt may reuse, if those were computed by long runs or by short ones.
    pub(in super::super) fn reusable(self, common: usize, long: bool, prompt: usize) -> usize {
        let is_long = self.is_long(prompt);
        // The last run gives the logits: it must be there, and of the right kind.
        let last = if is_long { self.long } else { 1 };
        if long == is_long { common.min(prompt.saturating_sub(last)) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_all_runs_are_alike_all_but_the_last_token_is_reused() {
        let rounding = Rounding::of(KvType::Q8_0, true, false, true);
        assert!(rounding.is_long(1));
        assert_eq!(rounding.reusable(100, true, 100), 99);
        assert_eq!(rounding.reusable(50, true, 100), 50);
        assert_eq!(rounding.reusable(1, true, 1), 0);
        assert_eq!(Rounding::of(KvType::F16, true, false, false), rounding);
        assert_eq!(Rounding::of(KvType::F16, true, true, true), rounding);
        assert_ne!(Rounding::of(KvType::F16, false, true, true), rounding, "plain attention is llama.cpp's");
    }

    #[test]
    fn with_tiles_a_whole_tile_is_left_to_read() {
        let rounding = Rounding::of(KvType::F16, true, false, true);
        assert_eq!(rounding.reusable(300, true, 300), 236);
        assert_eq!(rounding.reusable(200, true, 300), 200);
        assert_eq!(rounding.reusable(30, true, 64), 0);
    }

    #[test]
    fn what_was_computed_otherwise_is_not_reused() {
        let rounding = Rounding::of(KvType::F16, true, false, true);
        assert_eq!(rounding.reusable(40, true, 50), 0, "a short prompt is read in a short run");
        assert_eq!(rounding.reusable(40, false, 50), 40);
        assert_eq!(rounding.reusable(50, false, 50), 49);
        assert_eq!(rounding.reusable(40, false, 200), 0);
    }
}
