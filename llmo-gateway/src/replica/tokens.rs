//! The work that waits at a replica, counted in tokens.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use llmo_core::model::Load;

/// What a request of somebody else weighs that runs there already and says nothing of its length.
const TYPICAL_TOKENS: u64 = 512;

/// Tokens that a replica still has to read or write.
///
/// A replica tells what it knows with each health check, seconds apart. Between two reports the gateway counts its own
/// requests itself: all their tokens when they are sent, fewer as their output comes.
#[derive(Debug, Default)]
pub struct TokenLoad {
    own: AtomicU64,
    foreign: AtomicU64,
    kv_used: AtomicU32,
}

impl TokenLoad {
    /// Ours and those of others, as far as known.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.own().saturating_add(self.foreign.load(Ordering::Relaxed))
    }

    /// Those that this gateway sent and that are not done yet.
    #[must_use]
    pub fn own(&self) -> u64 {
        self.own.load(Ordering::Relaxed)
    }

    /// The fullest KV cache there when it last reported, 0.0 to 1.0.
    #[must_use]
    pub fn kv_used(&self) -> f32 {
        f32::from_bits(self.kv_used.load(Ordering::Relaxed))
    }

    pub(super) fn credit(&self, tokens: u64) {
        self.own.fetch_add(tokens, Ordering::Relaxed);
    }

    pub(super) fn release(&self, tokens: u64) {
        self.own.fetch_sub(tokens, Ordering::Relaxed);
    }

    /// Takes in a report of all models there, `foreign_requests` of which are not ours.
    pub(super) fn report<'a>(&self, loads: impl Iterator<Item = &'a Load>, foreign_requests: u32) {
        let (mut queued, mut kv_used) = (0_u64, 0.0_f32);
        for load in loads {
            queued = queued.saturating_add(load.queued_tokens);
            kv_used = kv_used.max(load.kv_used);
        }
        let foreign = match foreign_requests {
            0 => 0,
            n => queued.saturating_sub(self.own()).max(u64::from(n) * TYPICAL_TOKENS),
        };
        self.foreign.store(foreign, Ordering::Relaxed);
        // `max` also turns what is no number into 0.
        self.kv_used.store(kv_used.clamp(0.0, 1.0).to_bits(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(tokens: u64) -> Load {
        let mut load = Load::idle(1);
        load.queued_tokens = tokens;
        load
    }

    #[test]
    fn own_tokens_count_at_once_and_are_not_counted_again_when_reported() {
        let tokens = TokenLoad::default();
        tokens.credit(1_000);
        assert_eq!(tokens.outstanding(), 1_000);
        tokens.report([queued(1_000)].iter(), 0);
        assert_eq!(tokens.outstanding(), 1_000);
        tokens.report([queued(9_000)].iter(), 2);
        assert_eq!(tokens.outstanding(), 9_000);
        tokens.release(1_000);
        assert_eq!(tokens.outstanding(), 8_000);
    }

    #[test]
    fn requests_of_others_that_run_weigh_something() {
        let tokens = TokenLoad::default();
        tokens.report([queued(0)].iter(), 3);
        assert_eq!(tokens.outstanding(), 3 * TYPICAL_TOKENS);
    }
}
