//! A request gets a slot, and the beginning of its prompt from wherever it is.

use std::time::{Duration, Instant};

use llmo_core::ModelError;
use llmo_core::model::TokenId;

use super::generation::Generation;
use super::job::Job;
use super::prefix::placement::source;
use super::prefix::{Candidate, Costs, Plan, Salt, Source, Worth, plan};
use super::scheduler::Engine;
use super::slot::{Wait, WaitSource};
use crate::llama_cpp::forward::Forward;

/// Copying a token against reading it, before either was measured. (Measured with SmolLM2: 0.01.)
const COPY_AGAINST_READING: f64 = 0.02;

/// What a slot between running ones costs, in tokens of prompts: a pass more over the weights at each step of a stream,
/// some 5 ms, over an answer of 20 to 100 tokens.
const GAP: f64 = 100.0;

/// A beginning is waited for at least so long, and four times as long as reading it takes: running streams take their turns.
const SHORTEST_WAIT: Duration = Duration::from_millis(500);

/// Nor does anybody wait longer for a store.
const LONGEST_FETCH: Duration = Duration::from_secs(2);

/// Before the speed of reading was measured.
const SECONDS_PER_TOKEN: f64 = 0.01;

impl<F: Forward> Engine<F> {
    /// Gives a job a slot. One must be free.
    pub(super) fn place(&mut self, job: Job, now: Instant) {
        let salt = Salt::of(&job.request);
        let mut candidates = self.candidates(&salt, &job.prompt, now);
        // Who asks for log probabilities of the prompt needs all of it computed.
        let all = job.request.prompt_logprobs.is_some();
        if all {
            candidates.iter_mut().for_each(|candidate| (candidate.ready, candidate.coming) = (0, 0));
        }
        let Some(Plan { slot: index, spill, source }) = plan(&candidates, job.prompt.len(), self.costs()) else {
            return;
        };
        let saved = match source {
            Source::Own(tokens) | Source::Copy { tokens, .. } | Source::Await { tokens, .. } => tokens,
        };
        if self.is_hopeless(&job, job.prompt.len().saturating_sub(saved), now) {
            return job.refuse(ModelError::DeadlineExceeded { stage: "in the queue".into() });
        }
        if let Some(to) = spill {
            self.spill(index, to);
        }
        self.slots[index].salt = salt.clone();
        self.slots[index].wait = None;
        let prompt = job.prompt.clone();
        let archived = if all { None } else { self.ask_archive(&salt, &prompt, saved) };
        let source = match archived {
            Some((number, tokens)) => {
                let patience = Duration::from_secs_f64(self.reading_takes(tokens)).clamp(SHORTEST_WAIT, LONGEST_FETCH);
                self.slots[index].wait = Some(Wait { source: WaitSource::Archive { number }, until: now + patience });
                Source::Own(candidates[index].ready)
            }
            None => source,
        };
        let cached = match source {
            Source::Await { from, tokens } => {
                let patience = Duration::from_secs_f64(4.0 * self.reading_takes(tokens)).max(SHORTEST_WAIT);
                let wait = Wait { source: WaitSource::Slot { from, tokens }, until: now + patience };
                self.slots[index].wait = Some(wait);
                self.reuse(index, Source::Own(candidates[index].ready), now)
            }
            ready => self.reuse(index, ready, now),
        };
        self.index.insert(index, &salt, &prompt);
        match Generation::start(job, cached as u32, &self.settings.table, now) {
            Some(generation) => {
                self.slots[index].generation = Some(generation);
                if self.slots[index].wait.is_none() {
                    self.reused(index, prompt.len(), cached);
                }
            }
            None => {
                self.slots[index].wait = None;
                self.index_contents(index);
            }
        }
    }

    /// Would its deadline pass before so many tokens are read, even at twice the usual speed?
    fn is_hopeless(&self, job: &Job, unread: usize, now: Instant) -> bool {
        let (Some(deadline), Some(seconds)) = (job.request.deadline, self.pace.seconds_per_token()) else {
            return false;
        };
        deadline.saturating_duration_since(now).as_secs_f64() < unread as f64 * seconds / 2.0
    }

    /// Lets go those requests whose beginning has come, won't come, or took too long.
    pub(super) fn settle(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            let Some(wait) = self.slots[index].wait else { continue };
            let goes_on = match wait.source {
                WaitSource::Slot { from, tokens } => {
                    let from = &self.slots[from];
                    from.wait.is_none() && from.generation.is_some() && from.cached.len() < tokens
                }
                WaitSource::Archive { number } => self.is_on_its_way(number),
            };
            if goes_on && now < wait.until {
                continue;
            }
            self.end_wait(index, wait, now);
        }
        self.forget_arrivals();
    }

    /// Takes what there is now of the beginning that a slot waited for, or waits for the one who reads it instead.
    fn end_wait(&mut self, index: usize, wait: Wait, now: Instant) {
        let Some(prompt) = self.slots[index].generation.as_ref().map(|generation| generation.prompt.clone()) else {
            self.slots[index].wait = None;
            return;
        };
        let salt = self.slots[index].salt.clone();
        let mut candidates = self.candidates(&salt, &prompt, now);
        if now >= wait.until {
            candidates.iter_mut().for_each(|candidate| candidate.coming = candidate.ready);
        }
        let source = source(&candidates, index, self.costs());
        let restored = match wait.source {
            WaitSource::Archive { number } => self.restore(index, number, &prompt, source, now),
            WaitSource::Slot { .. } => None,
        };
        let cached = match (restored, source) {
            (Some(cached), _) => cached,
            (None, Source::Await { from, tokens }) => {
                self.slots[index].wait = Some(Wait { source: WaitSource::Slot { from, tokens }, ..wait });
                return;
            }
            (None, ready) => self.reuse(index, ready, now),
        };
        self.slots[index].wait = None;
        if let Some(generation) = &mut self.slots[index].generation {
            generation.cached = cached as u32;
        }
        self.index.insert(index, &salt, &prompt);
        self.reused(index, prompt.len(), cached);
    }

    /// A prompt begins to be read behind so many tokens that need not be.
    fn reused(&mut self, index: usize, prompt: usize, cached: usize) {
        self.mailbox.count_prefix(prompt, cached);
        self.archive_if_popular(index);
    }

    /// Every slot as it looks from this prompt.
    fn candidates(&self, salt: &Salt, prompt: &[TokenId], now: Instant) -> Vec<Candidate> {
        let rounding = self.settings.rounding;
        let mut candidates: Vec<Candidate> = Vec::with_capacity(self.slots.len());
        candidates.extend(self.slots.iter().enumerate().map(|(index, slot)| Candidate {
            is_free: slot.is_free(),
            held: slot.cached.len(),
            unique: if slot.is_free() { self.index.unique(index) } else { 0 },
            chance: slot.worth.chance(now),
            ..Candidate::default()
        }));
        for (index, common) in self.index.common(salt, prompt) {
            let slot = &self.slots[index];
            let ready = rounding.reusable(common.min(slot.alike()), slot.long, prompt.len());
            let reading =
                slot.generation.as_ref().filter(|generation| generation.next.is_none() && slot.wait.is_none());
            let coming = reading.map_or(0, |generation| {
                rounding.reusable(common, rounding.is_long(generation.prompt.len()), prompt.len())
            });
            (candidates[index].ready, candidates[index].coming) = (ready, coming.max(ready));
        }
        candidates
    }

    fn costs(&self) -> Costs {
        let copy = match (self.forward.can_copy(), self.seconds_per_copied, self.pace.seconds_per_token()) {
            (false, ..) => f64::INFINITY,
            (true, Some(copied), Some(read)) => copied / read.max(1e-9),
            (true, ..) => COPY_AGAINST_READING,
        };
        Costs { copy, gap: GAP }
    }

    /// Seconds that reading so many tokens of a prompt takes.
    fn reading_takes(&self, tokens: usize) -> f64 {
        tokens as f64 * self.pace.seconds_per_token().unwrap_or(SECONDS_PER_TOKEN)
    }

    /// Makes a slot hold the beginning of a prompt. Gives how many tokens of it.
    fn reuse(&mut self, index: usize, source: Source, now: Instant) -> usize {
        match source {
            Source::Copy { from, tokens } if self.copy(from, index) => {
                let kept = self.forward.keep(index as u32, tokens as u32) as usize;
                self.slots[from].worth.used(now);
                let (held, long) = (self.slots[from].cached[..kept].to_vec(), self.slots[from].long);
                self.slots[index].take_over(held, long, Worth::new(now));
                kept
            }
            Source::Own(tokens) => {
                let slot = &mut self.slots[index];
                let kept = if tokens < slot.cached.len() {
                    self.forward.keep(index as u32, tokens as u32) as usize
                } else {
                    tokens
                };
                slot.truncate(kept);
                if kept > 0 {
                    slot.worth.used(now)
                } else {
                    slot.worth = Worth::new(now)
                }
                kept
            }
            Source::Copy { .. } | Source::Await { .. } => {
                self.forward.keep(index as u32, 0);
                self.slots[index].truncate(0);
                0
            }
        }
    }

    /// Moves what a slot holds into another, whose own contents are worth less.
    fn spill(&mut self, from: usize, to: usize) {
        if !self.copy(from, to) {
            self.slots[to].truncate(0);
            self.index.remove(to);
            return;
        }
        let kept = self.slots[from].alike();
        let kept = self.forward.keep(to as u32, kept as u32) as usize;
        let (held, long) = (self.slots[from].cached[..kept].to_vec(), self.slots[from].long);
        let (salt, worth) = (self.slots[from].salt.clone(), self.slots[from].worth);
        self.slots[to].take_over(held, long, worth);
        self.slots[to].salt = salt;
        self.index_contents(to);
    }

    /// Copies a whole sequence and learns how long that takes.
    fn copy(&mut self, from: usize, to: usize) -> bool {
        let started = Instant::now();
        let copied = self.forward.copy(from as u32, to as u32);
        let tokens = self.slots[from].cached.len();
        if copied && tokens > 0 {
            let new = started.elapsed().as_secs_f64() / tokens as f64;
            self.seconds_per_copied = Some(self.seconds_per_copied.map_or(new, |old| old.mul_add(0.75, new * 0.25)));
        }
        copied
    }

    /// The index knows of a slot what it holds, and no prompt that is still to be read.
    pub(super) fn index_contents(&mut self, index: usize) {
        let slot = &self.slots[index];
        self.index.insert(index, &slot.salt, &slot.cached[..slot.alike()]);
    }
}
