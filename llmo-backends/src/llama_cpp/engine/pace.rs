//! How much of a prompt to read between two tokens of the running streams.

use std::time::Duration;

/// Chunks are multiples of this: smaller ones waste time on starting threads.
const GRAIN: u32 = 8;

/// What is no longer than this is read in one run: two runs of half of it take nearly twice as long, and every prompt whose
/// beginning is known has a rest like that.
const WHOLE: usize = 2 * GRAIN as usize;

/// llama.cpp computes attention for runs of at least this many tokens in tiles, with sums of higher precision.
const TILE: usize = 64;

/// How many of a prompt's `unread` tokens to run now, with at most `budget`, or [`WHOLE`] where that is all.
///
/// A prompt of several runs leaves no short tail: in a run below [`TILE`] tokens flash attention rounds differently, and
/// the output would not be that of llama.cpp's own tools, which read such a prompt in one run.
pub(super) fn part(unread: usize, budget: usize) -> usize {
    if unread <= WHOLE && budget > 0 {
        return unread;
    }
    let tail = unread.saturating_sub(budget);
    if (1..TILE).contains(&tail) && budget >= 2 * TILE { unread - TILE } else { unread.min(budget) }
}

/// Learns the speed of this machine and gives sizes of chunks.
///
/// A running stream waits for each chunk. If a chunk takes no longer than one and a half steps of the streams, the time
/// between two tokens stays below three times the usual while a prompt is read.
///
/// Runs of at least [`TILE`] tokens and shorter ones have different costs: far into a long prompt, a token of a short run
/// takes several times as long with flash attention and a 16-bit cache (10 ms against 3 ms at 1 600 tokens on two cores).
#[derive(Debug)]
pub(super) struct Pace {
    largest: u32,
    /// Smoothed seconds of one step of the running streams.
    step: Option<f64>,
    /// Smoothed seconds for a token of a prompt, in runs of at least [`TILE`].
    in_long: Option<f64>,
    /// The same in shorter runs.
    in_short: Option<f64>,
}

/// A chunk may take so many steps of the running streams.
const STEPS: f64 = 1.5;

impl Pace {
    /// Chunks of at most `largest` tokens.
    pub(super) fn new(largest: u32) -> Self {
        Self { largest: largest.max(GRAIN), step: None, in_long: None, in_short: None }
    }

    /// Tokens of prompts to read now.
    pub(super) fn chunk(&self, streams_wait: bool) -> u32 {
        let (Some(step), true) = (self.step, streams_wait) else { return self.largest };
        // Converting a float to an integer saturates.
        let fits = |token: f64| (step * STEPS / token.max(1e-9)) as u32 / GRAIN * GRAIN;
        let tile = TILE as u32;
        match (self.in_long.map(fits), self.in_short.map(fits)) {
            (Some(long), _) if long >= tile => long.min(self.largest),
            (_, Some(short)) | (Some(short), None) => short.clamp(GRAIN, (tile - GRAIN).min(self.largest)),
            (None, None) => self.largest,
        }
    }

    /// Smoothed seconds that a token of a prompt takes to read; `None` before the first.
    pub(super) fn seconds_per_token(&self) -> Option<f64> {
        self.in_long.or(self.in_short)
    }

    /// A step of the streams took this long.
    pub(super) fn stepped(&mut self, took: Duration) {
        smooth(&mut self.step, took.as_secs_f64());
    }

    /// Reading this many tokens of a prompt took this long.
    pub(super) fn read(&mut self, tokens: u32, took: Duration) {
        // The fixed part of a small run says nothing about a large one.
        if tokens >= GRAIN {
            let cost = if tokens as usize >= TILE { &mut self.in_long } else { &mut self.in_short };
            smooth(cost, took.as_secs_f64() / f64::from(tokens));
        }
    }
}

fn smooth(value: &mut Option<f64>, new: f64) {
    *value = Some(value.map_or(new, |old| old.mul_add(0.75, new * 0.25)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_running_streams_chunks_are_as_large_as_allowed() {
        let mut pace = Pace::new(128);
        assert_eq!(pace.chunk(false), 128);
        pace.read(128, Duration::from_millis(128));
        pace.stepped(Duration::from_millis(20));
        assert_eq!(pace.chunk(false), 128);
    }

    #[test]
    fn a_chunk_takes_no_longer_than_one_and_a_half_steps_of_the_streams() {
        let mut pace = Pace::new(128);
        pace.read(128, Duration::from_millis(128));
        pace.stepped(Duration::from_millis(20));
        assert_eq!(pace.chunk(true), 24);
        pace.stepped(Duration::from_secs(1));
        assert_eq!(pace.chunk(true), 128);
    }

    #[test]
    fn long_runs_are_preferred_where_they_fit_whatever_short_ones_cost() {
        let mut pace = Pace::new(128);
        pace.stepped(Duration::from_millis(50));
        pace.read(16, Duration::from_millis(160));
        assert_eq!(pace.chunk(true), 8, "only the cost of short runs is known: ten milliseconds a token");
        pace.read(64, Duration::from_millis(64));
        assert_eq!(pace.chunk(true), 72);
        let mut slow = Pace::new(128);
        slow.stepped(Duration::from_millis(50));
        slow.read(64, Duration::from_millis(128));
        slow.read(16, Duration::from_millis(24));
        assert_eq!(slow.chunk(true), 48, "a run of 64 would take 128 ms");
    }

    #[test]
    fn a_prompt_of_several_runs_leaves_no_short_tail() {
        for length in 1..1000 {
            let (mut unread, mut runs) = (length, Vec::new());
            while unread > 0 {
                runs.push(part(unread, 128));
                unread -= runs[runs.len() - 1];
            }
            assert!(runs.iter().all(|&run| run <= 128 && run >= TILE.min(length)), "{length}: {runs:?}");
        }
        assert_eq!(part(100, 48), 48);
    }

    #[test]
    fn a_short_rest_is_read_whole_or_not_at_all() {
        assert_eq!((part(16, 8), part(16, 1), part(16, 0)), (16, 16, 0));
        assert_eq!(part(17, 8), 8);
    }

    #[test]
    fn a_chunk_is_never_too_small_to_get_ahead() {
        let mut pace = Pace::new(128);
        pace.read(128, Duration::from_secs(100));
        pace.stepped(Duration::from_millis(1));
        assert_eq!(pace.chunk(true), GRAIN);
    }
}
