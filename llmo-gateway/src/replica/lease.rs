//! A request's place at a replica.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Replica;

/// Requests that run now, counted by their leases. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<AtomicU32>);

impl Tally {
    /// How many.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a request takes at a replica.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Claim {
    /// Tokens to read, as far as known.
    pub prompt_tokens: u64,
    /// Tokens to write, weighed ([`Claim::WRITING`]), as far as can be guessed.
    pub output_tokens: u64,
    /// Counts requests of its model there.
    pub here: Tally,
    /// Counts requests of its model everywhere.
    pub everywhere: Tally,
}

impl Claim {
    /// A token that is written takes as long as so many that are read, with several streams at once: between the 6 of a
    /// single stream and the 2 of 32 (docs/performance.md).
    pub const WRITING: u64 = 4;

    /// Reads and writes so many tokens.
    #[must_use]
    pub fn new(prompt_tokens: u64, output_tokens: u64) -> Self {
        let output_tokens = output_tokens.saturating_mul(Self::WRITING);
        Self { prompt_tokens, output_tokens, ..Self::default() }
    }

    /// Counted by these.
    #[must_use]
    pub fn counted(mut self, here: &Tally, everywhere: &Tally) -> Self {
        self.here = here.clone();
        self.everywhere = everywhere.clone();
        self
    }

    /// All of it.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.output_tokens)
    }
}

/// A request's place at a replica; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    replica: Arc<Replica>,
    /// What of it is not done yet.
    claim: Claim,
    why: &'static str,
}

impl Lease {
    /// Counts a request in.
    #[must_use]
    pub fn new(replica: Arc<Replica>, claim: Claim) -> Self {
        replica.began();
        replica.tokens().credit(claim.tokens());
        claim.here.0.fetch_add(1, Ordering::Relaxed);
        claim.everywhere.0.fetch_add(1, Ordering::Relaxed);
        Self { replica, claim, why: "" }
    }

    /// The place was chosen for this reason.
    #[must_use]
    pub fn because(mut self, why: &'static str) -> Self {
        self.why = why;
        self
    }

    /// Why it was chosen, in a word; empty: nobody said.
    #[must_use]
    pub fn why(&self) -> &'static str {
        self.why
    }

    /// Where.
    #[must_use]
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// So many more tokens of output are there; with the first of them the prompt has been read.
    pub fn wrote(&mut self, tokens: usize) {
        let written = (tokens as u64).saturating_mul(Claim::WRITING).min(self.claim.output_tokens);
        let done = std::mem::take(&mut self.claim.prompt_tokens) + written;
        self.claim.output_tokens -= written;
        if done > 0 {
            self.replica.tokens().release(done);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.replica.ended();
        self.replica.tokens().release(self.claim.tokens());
        self.claim.here.0.fetch_sub(1, Ordering::Relaxed);
        self.claim.everywhere.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_dropped_lease_gives_everything_back() {
        let replica = Arc::new(Replica::new("http://a", Instant::now()));
        let (here, everywhere) = (Tally::default(), Tally::default());
        let first = Lease::new(Arc::clone(&replica), Claim::new(100, 10).counted(&here, &everywhere));
        let second = replica.lease();
        assert_eq!((replica.in_flight(), here.count(), everywhere.count()), (2, 1, 1));
        assert_eq!(replica.tokens().own(), 100 + 10 * Claim::WRITING);
        drop(first);
        drop(second);
        assert_eq!((replica.in_flight(), here.count(), everywhere.count()), (0, 0, 0));
        assert_eq!((replica.totals(), replica.tokens().own()), ((2, 0), 0));
    }

    #[test]
    fn output_takes_work_off_but_never_more_than_was_claimed() {
        let replica = Arc::new(Replica::new("http://a", Instant::now()));
        let mut lease = Lease::new(Arc::clone(&replica), Claim::new(100, 2));
        lease.wrote(1);
        assert_eq!(replica.tokens().own(), Claim::WRITING);
        lease.wrote(50);
        assert_eq!(replica.tokens().own(), 0);
        drop(lease);
        assert_eq!(replica.tokens().own(), 0);
    }
}
