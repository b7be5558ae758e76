//! The two things a step does with the model: one token of every stream, and a chunk of the prompts.

use std::time::Instant;

use llmo_core::ModelError;

use super::generation::{Generation, Progress};
use super::pace::part;
use super::prompt_report;
use super::scheduler::Engine;
use super::slot::Slot;
use crate::llama_cpp::forward::{Feed, Forward, ForwardError};

impl<F: Forward> Engine<F> {
    /// Runs the next token of every stream whose reader keeps up, in one batch. False if there is none.
    pub(super) fn generate(&mut self) -> bool {
        let started = Instant::now();
        self.feeds.clear();
        for (slot, state) in (0..).zip(&self.slots) {
            let generation = state.generation.as_ref().filter(|generation| generation.has_room());
            if let Some(token) = generation.and_then(|generation| generation.next) {
                self.feeds.push(Feed { slot, token, position: state.cached.len() as u32, logits: true });
            }
        }
        if self.feeds.is_empty() {
            return false;
        }
        if self.run() {
            for row in 0..self.feeds.len() {
                self.advance(row);
            }
            self.pace.stepped(started.elapsed());
        }
        true
    }

    /// Reads a chunk of the prompts that are not read yet. False if there is none.
    ///
    /// Prompts take turns, each in a run of its own. What the first leaves of the chunk goes to prompts that fit into it
    /// whole: how a prompt is cut does not depend on which others wait.
    pub(super) fn read_prompts(&mut self) -> bool {
        let streams_wait = self.slots.iter().any(|slot| slot.generation.as_ref().is_some_and(|g| g.next.is_some()));
        let mut budget = self.pace.chunk(streams_wait) as usize;
        let slots = self.slots.len();
        let first = self.turn;
        let mut read = false;
        for index in (first..first + slots).map(|turn| turn % slots) {
            let unread = unread(&self.slots[index]);
            let reports = self.slots[index].generation.as_ref().is_some_and(Generation::reports_prompt);
            let count = part(unread, if reports { budget.min(prompt_report::CHUNK) } else { budget });
            if count == 0 {
                continue;
            }
            if read && count < unread {
                break;
            }
            read = true;
            budget -= count;
            self.read(index, count);
            self.turn = (index + 1) % slots;
        }
        read
    }

    /// Runs the next `count` tokens of a prompt; after the last one, draws the first token of the output.
    fn read(&mut self, index: usize, count: usize) {
        let started = Instant::now();
        let slot = &self.slots[index];
        let Some(generation) = &slot.generation else { return };
        let done = slot.cached.len();
        let end = done + count;
        self.feeds.clear();
        self.feeds.extend((done..end).zip(&generation.prompt[done..end]).map(|(position, &token)| Feed {
            slot: index as u32,
            token,
            position: position as u32,
            logits: generation.reports_prompt() || position + 1 == generation.prompt.len(),
        }));
        let reports = generation.reports_prompt();
        let is_last = end == generation.prompt.len();
        if self.run() {
            self.pace.read(count as u32, started.elapsed());
            if reports && let Some(generation) = &mut self.slots[index].generation {
                for row in 0..count {
                    generation.note_prompt(done + row + 1, self.forward.logits(row), &self.settings.table);
                }
            }
            if is_last {
                self.advance(count - 1);
            }
        }
    }

    /// Runs the feeds and notes what the KV cache holds then. If it fails, the streams in it end.
    fn run(&mut self) -> bool {
        match self.forward.run(&self.feeds) {
            Ok(()) => {
                for feed in &self.feeds {
                    self.slots[feed.slot as usize].cached.push(feed.token);
                }
                true
            }
            Err(error) => {
                self.fail(&error);
                false
            }
        }
    }

    fn fail(&mut self, error: &ForwardError) {
        tracing::error!(%error, tokens = self.feeds.len(), "llama.cpp could not run a batch; its streams end");
        let mut slots: Vec<usize> = self.feeds.iter().map(|feed| feed.slot as usize).collect();
        slots.dedup();
        for index in slots {
            self.discard(index, &ModelError::Internal(format!("llama.cpp could not run the batch: {error}")));
        }
    }

    /// Draws the next token of the stream behind a row of the last run.
    fn advance(&mut self, row: usize) {
        let index = self.feeds[row].slot as usize;
        let Some(generation) = &mut self.slots[index].generation else { return };
        match generation.advance(self.forward.logits(row), &self.settings.table, &mut self.scratch) {
            Ok(Progress::Continues) => {}
            Ok(Progress::Ended) => {
                self.free(index);
            }
            Err(error) => self.discard(index, &error),
        }
    }
}

/// Tokens of a slot's prompt that are still to be read.
fn unread(slot: &Slot) -> usize {
    let is_reading = slot.generation.as_ref().filter(|generation| generation.next.is_none());
    is_reading.map_or(0, |generation| generation.prompt.len().saturating_sub(slot.cached.len()))
}
