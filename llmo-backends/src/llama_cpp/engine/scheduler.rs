//! The engine's loop: who gets a slot, who loses it, and when to sleep.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use llmo_core::ModelError;
use llmo_core::model::TokenId;

use super::draft::{Drafter, StepCost};
use super::generation::Generation;
use super::mailbox::Mailbox;
use super::pace::Pace;
use super::prefix::{Archive, RadixIndex, Rounding};
use super::slot::Slot;
use crate::llama_cpp::forward::{Feed, Forward};
use crate::llama_cpp::options::Speculation;
use crate::llama_cpp::vocabulary::TokenTable;

/// What an engine knows of its model and its options.
#[derive(Debug, Clone)]
pub(in super::super) struct Settings {
    /// Tokens of the model.
    pub(in super::super) table: Arc<TokenTable>,
    /// Sequences.
    pub(in super::super) slots: u32,
    /// Tokens that a sequence holds.
    pub(in super::super) context_length: u32,
    /// Most tokens of prompts between two steps of the streams.
    pub(in super::super) prefill_chunk: u32,
    /// Guess tokens ahead where that is faster?
    pub(in super::super) speculation: Speculation,
    /// How long a slot is held for a reader that takes nothing.
    pub(in super::super) reader_patience: Duration,
    /// What may be reused of what was computed.
    pub(in super::super) rounding: Rounding,
}

/// The scheduler over one model. Belongs to one thread.
pub(in super::super) struct Engine<F> {
    pub(super) forward: F,
    pub(super) settings: Settings,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) slots: Vec<Slot>,
    pub(super) pace: Pace,
    pub(super) cost: StepCost,
    /// A second model that guesses.
    pub(super) drafter: Option<Drafter<F>>,
    /// What the slots hold, and the prompts that they are reading.
    pub(super) index: RadixIndex,
    /// Beginnings that outlive this process, and those of them that were asked for.
    pub(super) archive: Option<Archive>,
    pub(super) asked_for: Vec<u64>,
    /// Smoothed seconds that copying a sequence takes for each token that it holds.
    pub(super) seconds_per_copied: Option<f64>,
    /// The slot whose prompt is read first in the next step.
    pub(super) turn: usize,
    /// Kept between steps, so that a step allocates nothing.
    pub(super) feeds: Vec<Feed>,
    pub(super) scratch: Vec<f32>,
    pub(super) guesses: Vec<TokenId>,
}

impl<F: Forward> Engine<F> {
    pub(in super::super) fn new(forward: F, settings: Settings, mailbox: Arc<Mailbox>) -> Self {
        let now = Instant::now();
        let slots = (0..settings.slots).map(|_| Slot::new(now)).collect();
        let pace = Pace::new(settings.prefill_chunk);
        Self {
            forward,
            settings,
            mailbox,
            slots,
            pace,
            index: RadixIndex::default(),
            archive: None,
            asked_for: Vec::new(),
            seconds_per_copied: None,
            cost: StepCost::default(),
            drafter: None,
            turn: 0,
            feeds: Vec::new(),
            scratch: Vec::new(),
            guesses: Vec::new(),
        }
    }

    /// With a place for beginnings of prompts that outlives this process.
    pub(in super::super) fn with_archive(mut self, archive: Option<Archive>) -> Self {
        self.archive = archive.filter(|_| self.forward.can_copy());
        self
    }

    /// With a second model that guesses, instead of looking up what came last time.
    pub(in super::super) fn with_drafter(mut self, drafter: Option<Drafter<F>>) -> Self {
        self.drafter = drafter;
        self
    }

    /// Works until the mailbox is closed and every stream has ended.
    pub(super) fn work(&mut self) {
        loop {
            let now = Instant::now();
            self.reap(now);
            // Before others get slots: what somebody waits for must not be overwritten.
            self.settle(now);
            self.admit(now);
            self.report();
            let generated = self.generate();
            let read = self.read_prompts();
            if generated || read {
                continue;
            }
            if self.mailbox.is_finished() && self.slots.iter().all(Slot::is_free) {
                return;
            }
            self.sleep(now);
        }
    }

    /// After a panic: ends every stream and forgets what the KV cache holds, since nobody knows.
    pub(super) fn recover(&mut self, reason: &str) {
        for index in 0..self.slots.len() {
            self.discard(index, &ModelError::Internal(reason.to_owned()));
        }
        if let Some(drafter) = &mut self.drafter {
            drafter.forget();
        }
        self.report();
    }

    /// Ends the stream of a slot and empties its KV cache.
    pub(super) fn discard(&mut self, index: usize, error: &ModelError) {
        let slot = &mut self.slots[index];
        slot.truncate(0);
        slot.wait = None;
        self.index.remove(index);
        self.forward.keep(index as u32, 0);
        if let Some(generation) = slot.generation.take() {
            generation.fail(error.clone());
        }
    }

    /// Gives a slot back. What its KV cache holds stays, for the next prompt that begins alike.
    pub(super) fn free(&mut self, index: usize) -> Option<Generation> {
        let slot = &mut self.slots[index];
        let generation = slot.generation.take()?;
        slot.wait = None;
        self.index_contents(index);
        let tokens = generation.prompt.len() as u64 + u64::from(generation.generated());
        self.mailbox.report_service(generation.started_at().elapsed(), tokens);
        Some(generation)
    }

    /// Frees the slots of callers that left, are late, or don't read.
    fn reap(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            let patience = self.settings.reader_patience;
            let Some(generation) = &mut self.slots[index].generation else { continue };
            if generation.has_room() {
                generation.reader_kept_up_at = now;
            }
            let stage = if !generation.is_wanted() {
                None
            } else if generation.deadline().is_some_and(|deadline| deadline <= now) {
                Some("while generating")
            } else if now.saturating_duration_since(generation.reader_kept_up_at) >= patience {
                Some("while the reader took nothing")
            } else {
                continue;
            };
            let generation = self.free(index);
            if let (Some(generation), Some(stage)) = (generation, stage) {
                generation.fail(ModelError::DeadlineExceeded { stage: stage.into() });
            }
        }
    }

    /// Moves waiting requests into free slots.
    fn admit(&mut self, now: Instant) {
        loop {
            let any_free = self.slots.iter().any(Slot::is_free);
            let Some(job) = self.mailbox.take(now, any_free) else { return };
            self.place(job, now);
        }
    }

    fn report(&self) {
        let busy = self.slots.iter().filter(|slot| !slot.is_free());
        let (count, tokens) = busy.fold((0, 0usize), |(n, tokens), slot| (n + 1, tokens + slot.cached.len()));
        let room = f64::from(self.settings.context_length) * f64::from(self.settings.slots);
        self.mailbox.report(self.settings.slots - count, (tokens as f64 / room) as f32);
    }

    /// Sleeps until somebody calls or a deadline passes.
    fn sleep(&self, now: Instant) {
        let busy = self.slots.iter().filter_map(|slot| slot.generation.as_ref());
        let of_streams = busy.flat_map(|generation| {
            let patience_ends = generation.reader_kept_up_at.checked_add(self.settings.reader_patience);
            [generation.deadline(), patience_ends].into_iter().flatten()
        });
        let waits = self.slots.iter().filter_map(|slot| slot.wait).map(|wait| wait.until);
        match of_streams.chain(waits).chain(self.mailbox.next_deadline()).min() {
            // A millisecond more, so that the deadline has passed for certain.
            Some(at) => thread::park_timeout(at.saturating_duration_since(now) + Duration::from_millis(1)),
            None => thread::park(),
        }
    }
}
