//! Guesses by a second, smaller model with the same tokens (speculative decoding: Leviathan et al., 2023; Chen et al., 2023).
//!
//! It has a context of its own, with a sequence for each stream that may be guessed for. A sequence follows its stream lazily:
//! before it guesses, it forgets what the stream did not take and reads what is new.

use llmo_core::model::TokenId;

use super::cost::MOST_STREAMS;
use crate::llama_cpp::forward::{Feed, Forward};
use crate::sampler::argmax;

/// Sequences of a drafter's context.
pub(in super::super::super) const LANES: u32 = MOST_STREAMS as u32;
/// Most tokens that it reads between two tokens of a stream: a long prompt is caught up with over several steps, so that
/// nobody waits for it.
const CATCH_UP: usize = 128;

/// A second model that guesses. Belongs to the engine's thread.
pub(in super::super::super) struct Drafter<F> {
    forward: F,
    /// Tokens that a sequence holds.
    context_length: usize,
    lanes: Vec<Lane>,
    feeds: Vec<Feed>,
    /// Counts uses, for the order of lanes.
    clock: u64,
    broken: bool,
}

/// A sequence of the drafter.
#[derive(Debug, Default)]
struct Lane {
    /// The slot that it follows.
    slot: Option<usize>,
    tokens: Vec<TokenId>,
    used: u64,
}

impl<F: Forward> Drafter<F> {
    /// With a context of [`LANES`] sequences.
    pub(in super::super::super) fn new(forward: F, context_length: u32) -> Self {
        let lanes = (0..LANES).map(|_| Lane::default()).collect();
        let broken = !forward.forgets_parts();
        Self { forward, context_length: context_length as usize, lanes, feeds: Vec::new(), clock: 0, broken }
    }

    /// Guesses up to `count` tokens that follow `history` and then `last`, and puts them into `guesses`: the likeliest each
    /// time. None if it has not caught up with the stream yet, or is broken.
    pub(in super::super) fn guess(
        &mut self,
        slot: usize,
        history: &[TokenId],
        last: TokenId,
        count: usize,
        guesses: &mut Vec<TokenId>,
    ) {
        guesses.clear();
        if self.broken || history.len() + 1 + count > self.context_length {
            return;
        }
        let index = self.lane(slot);
        if let Err(error) = self.follow(index, history, last, count, guesses) {
            // Streams go on without guesses; what went wrong once would go wrong each time.
            tracing::error!(error, "the draft model fails; no more guesses by it");
            self.broken = true;
            guesses.clear();
        }
    }

    /// Forgets all streams: after a panic nobody knows what its cache holds.
    pub(in super::super) fn forget(&mut self) {
        for (index, lane) in (0..).zip(&mut self.lanes) {
            self.forward.keep(index, 0);
            *lane = Lane::default();
        }
    }

    /// The lane that follows a slot: its own, else the one that nobody has used for longest.
    fn lane(&mut self, slot: usize) -> usize {
        self.clock += 1;
        let own = self.lanes.iter().position(|lane| lane.slot == Some(slot));
        let oldest = || self.lanes.iter().enumerate().min_by_key(|(_, lane)| lane.used).map_or(0, |(index, _)| index);
        let index = own.unwrap_or_else(oldest);
        self.lanes[index].slot = Some(slot);
        self.lanes[index].used = self.clock;
        index
    }

    fn follow(
        &mut self,
        index: usize,
        history: &[TokenId],
        last: TokenId,
        count: usize,
        guesses: &mut Vec<TokenId>,
    ) -> Result<(), String> {
        let lane = &mut self.lanes[index];
        let common = lane.tokens.iter().zip(history).take_while(|(a, b)| a == b).count();
        let kept =
            if common < lane.tokens.len() { self.forward.keep(index as u32, common as u32) as usize } else { common };
        lane.tokens.truncate(kept);
        let missing = history.len() - kept;
        let catches_up = missing < CATCH_UP;
        let read = if catches_up { &history[kept..] } else { &history[kept..kept + CATCH_UP] };
        let tokens = read.iter().copied().chain(catches_up.then_some(last));
        self.run(index, tokens.collect())?;
        if !catches_up {
            return Ok(());
        }
        for number in 0..count {
            let token = argmax(self.forward.logits(self.feeds.len() - 1));
            guesses.push(token);
            if number + 1 < count {
                self.run(index, vec![token])?;
            }
        }
        Ok(())
    }

    /// Runs tokens behind what a lane holds. The last one's logits are there afterwards.
    fn run(&mut self, index: usize, tokens: Vec<TokenId>) -> Result<(), String> {
        let lane = &mut self.lanes[index];
        let (from, end) = (lane.tokens.len(), lane.tokens.len() + tokens.len());
        let feed = |(position, &token): (usize, &TokenId)| Feed {
            slot: index as u32,
            token,
            position: position as u32,
            logits: position + 1 == end,
        };
        self.feeds.clear();
        self.feeds.extend((from..).zip(&tokens).map(feed));
        self.forward.run(&self.feeds).map_err(|error| error.to_string())?;
        lane.tokens.extend(tokens);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::llama_cpp::forward::ForwardError;

    /// Token `n` is followed by `n + 1`. Records how many tokens each run had, and checks that sequences have no gaps.
    #[derive(Default)]
    struct Counting {
        caches: [Vec<TokenId>; 2],
        runs: Arc<Mutex<Vec<usize>>>,
        fails: bool,
        row: Vec<f32>,
    }

    impl Forward for Counting {
        fn run(&mut self, feeds: &[Feed]) -> Result<(), ForwardError> {
            if self.fails {
                return Err(ForwardError("asked to".into()));
            }
            for feed in feeds {
                let cache = &mut self.caches[feed.slot as usize];
                assert_eq!(cache.len(), feed.position as usize);
                cache.push(feed.token);
                self.row = vec![0.0; 100];
                self.row[feed.token as usize + 1] = 1.0;
            }
            self.runs.lock().push(feeds.len());
            Ok(())
        }

        fn logits(&self, _: usize) -> &[f32] {
            &self.row
        }

        fn keep(&mut self, slot: u32, length: u32) -> u32 {
            self.caches[slot as usize].truncate(length as usize);
            length
        }
    }

    fn guessed(drafter: &mut Drafter<Counting>, slot: usize, history: &[TokenId], last: TokenId) -> Vec<TokenId> {
        let mut guesses = vec![77];
        drafter.guess(slot, history, last, 3, &mut guesses);
        guesses
    }

    #[test]
    fn a_lane_follows_its_stream_and_reads_only_what_is_new() {
        let runs = Arc::default();
        let mut drafter = Drafter::new(Counting { runs: Arc::clone(&runs), ..Counting::default() }, 1000);
        assert_eq!(guessed(&mut drafter, 4, &[1, 2, 3], 4), [5, 6, 7]);
        assert_eq!(std::mem::take(&mut *runs.lock()), [4, 1, 1]);
        // 5 was right, 6 was not.
        assert_eq!(guessed(&mut drafter, 4, &[1, 2, 3, 4, 5], 30), [31, 32, 33]);
        assert_eq!(std::mem::take(&mut *runs.lock()), [1, 1, 1]);
        // Another stream has the other lane; a third one takes the older of both.
        assert_eq!(guessed(&mut drafter, 0, &[50], 51), [52, 53, 54]);
        assert_eq!(guessed(&mut drafter, 1, &[60], 61), [62, 63, 64]);
        assert_eq!(guessed(&mut drafter, 0, &[50, 51], 52), [53, 54, 55]);
    }

    #[test]
    fn a_long_prompt_is_caught_up_with_in_parts() {
        let runs = Arc::default();
        let mut drafter = Drafter::new(Counting { runs: Arc::clone(&runs), ..Counting::default() }, 1000);
        let history: Vec<TokenId> = (0..300).map(|n| n % 90).collect();
        assert!(guessed(&mut drafter, 0, &history, 5).is_empty());
        assert!(guessed(&mut drafter, 0, &history, 5).is_empty());
        assert_eq!(guessed(&mut drafter, 0, &history, 5), [6, 7, 8]);
        assert_eq!(*runs.lock(), [128, 128, 45, 1, 1]);
    }

    #[test]
    fn where_it_has_no_room_or_fails_nothing_is_guessed() {
        let mut small = Drafter::new(Counting::default(), 8);
        assert!(guessed(&mut small, 0, &[1, 2, 3, 4, 5], 6).is_empty());
        assert_eq!(guessed(&mut small, 0, &[1, 2, 3, 4], 5), [6, 7, 8]);
        let mut failing = Drafter::new(Counting { fails: true, ..Counting::default() }, 1000);
        assert!(guessed(&mut failing, 0, &[1], 2).is_empty() && failing.broken);
        assert!(guessed(&mut failing, 0, &[1], 2).is_empty());
    }
}
