//! The two things a step does with the model: the next tokens of every stream, and a chunk of the prompts.

use std::ops::Range;
use std::time::Instant;

use llmo_core::ModelError;
use llmo_core::model::TokenId;

use super::draft::{self, StepCost};
use super::generation::{Generation, Progress};
use super::pace::part;
use super::prompt_report;
use super::scheduler::Engine;
use super::slot::Slot;
use crate::llama_cpp::forward::{Feed, Forward, ForwardError};
use crate::llama_cpp::options::Speculation;

/// While a draft model's guesses are not worth running, it is asked only so often what it would guess: that costs a step of it.
const TOKENS_TO_A_LOOK: u32 = 4;

impl<F: Forward> Engine<F> {
    /// Runs the next token of every stream whose reader keeps up, and guesses behind it, in one batch. False if there is
    /// none.
    pub(super) fn generate(&mut self) -> bool {
        let started = Instant::now();
        let streams = self.slots.iter().filter(|slot| next(slot).is_some()).count();
        if streams == 0 {
            return false;
        }
        self.feeds.clear();
        for index in 0..self.slots.len() {
            let Some(token) = next(&self.slots[index]) else { continue };
            let (slot, position) = (index as u32, self.slots[index].cached.len() as u32);
            self.feeds.push(Feed { slot, token, position, logits: true });
            self.guess(index, token, streams);
            let guesses = (position + 1..).zip(&self.guesses);
            self.feeds.extend(guesses.map(|(position, &token)| Feed { slot, token, position, logits: true }));
        }
        if self.run() {
            let mut row = 0;
            while row < self.feeds.len() {
                let slot = self.feeds[row].slot;
                let rows = self.feeds[row..].iter().take_while(|feed| feed.slot == slot).count();
                self.verify(row..row + rows);
                row += rows;
            }
            let guesses = self.feeds.len() - streams;
            if guesses == 0 {
                self.pace.stepped(started.elapsed());
            }
            self.cost.stepped(streams, guesses, started.elapsed());
        }
        true
    }

    /// Guesses what follows the next token of a stream, as far as it is worth running.
    fn guess(&mut self, index: usize, token: TokenId, streams: usize) {
        self.guesses.clear();
        if self.settings.speculation == Speculation::Off
            || !StepCost::may_guess(streams)
            || !self.forward.forgets_parts()
        {
            return;
        }
        let slot = &mut self.slots[index];
        let Some(generation) = &mut slot.generation else { return };
        let length = match self.settings.speculation {
            Speculation::Always(length) => length as usize,
            _ => self.cost.length(streams, generation.hit_rate.share()),
        };
        // The batch has room for a chunk of a prompt.
        let share = (self.settings.prefill_chunk as usize / streams).saturating_sub(1);
        let length = length.min(generation.room_for_guesses()).min(share);
        // The first guess is compared with what comes even if it is not run.
        let count = length.max(1);
        match &mut self.drafter {
            None => draft::guess(&slot.cached, token, count, &mut self.guesses),
            Some(drafter) if length > 0 || generation.generated().is_multiple_of(TOKENS_TO_A_LOOK) => {
                drafter.guess(index, &slot.cached, token, count, &mut self.guesses);
            }
            Some(_) => {}
        }
        generation.hit_rate.expect(self.guesses.first().copied());
        self.guesses.truncate(length);
    }

    /// Draws behind the next token of a stream, and behind its guesses for as long as they are what was drawn. Forgets the
    /// others.
    fn verify(&mut self, rows: Range<usize>) {
        let index = self.feeds[rows.start].slot as usize;
        let guessed = rows.len() - 1;
        let mut right = 0;
        for row in rows.clone() {
            self.slots[index].append([self.feeds[row].token], rows.len(), self.settings.rounding);
            self.advance(row);
            let Some(generation) = &mut self.slots[index].generation else { break };
            let Some(drawn) = generation.next else { break };
            let expected = self.feeds[row + 1..rows.end].first().map(|feed| feed.token);
            if row > rows.start {
                generation.hit_rate.expect(expected);
            }
            generation.hit_rate.drawn(drawn);
            if expected != Some(drawn) {
                break;
            }
            right += 1;
        }
        if guessed == 0 {
            return;
        }
        self.mailbox.report_guesses(guessed, right);
        let valid = self.slots[index].cached.len();
        if right < guessed && (self.forward.keep(index as u32, valid as u32) as usize) < valid {
            let what = "the model could not forget tokens that were guessed wrong".to_owned();
            self.discard(index, &ModelError::Internal(what));
        }
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
            budget = budget.saturating_sub(count);
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
            let tokens = self.feeds.iter().map(|feed| feed.token);
            self.slots[index].append(tokens, count, self.settings.rounding);
            self.pace.read(count as u32, started.elapsed());
            self.mailbox.count_prefill(count);
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

    /// Runs the feeds. If it fails, the streams in it end.
    fn run(&mut self) -> bool {
        match self.forward.run(&self.feeds) {
            Ok(()) => true,
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
        let before = generation.generated();
        let progress = generation.advance(self.forward.logits(row), &self.settings.table, &mut self.scratch);
        self.mailbox.count_decode(generation.generated() - before);
        match progress {
            Ok(Progress::Continues) => {}
            Ok(Progress::Ended) => {
                self.free(index);
            }
            Err(error) => self.discard(index, &error),
        }
    }
}

/// The token that a slot's stream goes on with, if its reader keeps up.
fn next(slot: &Slot) -> Option<TokenId> {
    slot.generation.as_ref().filter(|generation| generation.has_room())?.next
}

/// Tokens of a slot's prompt that are still to be read.
fn unread(slot: &Slot) -> usize {
    let is_reading = slot.generation.as_ref().filter(|generation| generation.next.is_none() && slot.wait.is_none());
    is_reading.map_or(0, |generation| generation.prompt.len().saturating_sub(slot.cached.len()))
}
