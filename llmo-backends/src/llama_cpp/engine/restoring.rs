//! Beginnings of prompts from the archive, and into it.

use std::time::Instant;

use llmo_core::model::TokenId;

use super::prefix::archive::popular::SHORTEST;
use super::prefix::archive::{Arrival, Entry};
use super::prefix::{Salt, Source, Worth};
use super::scheduler::Engine;
use super::slot::WaitSource;
use crate::llama_cpp::forward::Forward;

impl<F: Forward> Engine<F> {
    /// Asks the archive for the beginning of a prompt, if that saves much more than the slots do. Gives the number to wait
    /// for, and the tokens that it saves.
    pub(super) fn ask_archive(&mut self, salt: &Salt, prompt: &[TokenId], saved: usize) -> Option<(u64, usize)> {
        // Another adapter of the same name would not be noticed.
        let archive = self.archive.as_ref().filter(|_| !salt.has_adapter())?;
        let found = archive.find(salt, prompt)?;
        let tokens = self.settings.rounding.reusable(found.common, found.long, prompt.len());
        if tokens < saved + SHORTEST || !archive.fetch(found.number) {
            return None;
        }
        self.asked_for.push(found.number);
        Some((found.number, tokens))
    }

    /// Is this entry still being read?
    pub(super) fn is_on_its_way(&self, number: u64) -> bool {
        self.archive.as_ref().is_some_and(|archive| matches!(archive.arrival(number), Arrival::Pending))
    }

    /// Puts an entry that has come into a slot. `None` if it has not, or is no better than this source.
    pub(super) fn restore(
        &mut self,
        index: usize,
        number: u64,
        prompt: &[TokenId],
        source: Source,
        now: Instant,
    ) -> Option<usize> {
        let Arrival::Here(entry) = self.archive.as_ref()?.arrival(number) else { return None };
        let Entry { tokens, long, state, .. } = &*entry;
        let common = tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let wanted = self.settings.rounding.reusable(common, *long, prompt.len());
        let otherwise = match source {
            Source::Own(tokens) | Source::Copy { tokens, .. } | Source::Await { tokens, .. } => tokens,
        };
        if wanted <= otherwise || tokens.len() > self.settings.context_length as usize {
            return None;
        }
        let slot = index as u32;
        let kept = if self.forward.restore(slot, state) { self.forward.keep(slot, wanted as u32) as usize } else { 0 };
        self.slots[index].take_over(tokens[..kept].to_vec(), *long, Worth::new(now));
        Some(kept)
    }

    /// Lets go entries that nobody waits for any more.
    pub(super) fn forget_arrivals(&mut self) {
        let Some(archive) = &self.archive else { return };
        let slots = &self.slots;
        self.asked_for.retain(|&asked| {
            let is_awaited = slots
                .iter()
                .any(|slot| matches!(slot.wait, Some(wait) if wait.source == WaitSource::Archive { number: asked }));
            if !is_awaited {
                archive.forget(asked);
            }
            is_awaited
        });
    }

    /// Saves what a slot holds, which is the beginning of its prompt, if others have used it too.
    pub(super) fn archive_if_popular(&mut self, index: usize) {
        let (Some(archive), slot) = (&mut self.archive, &self.slots[index]) else { return };
        if slot.salt.has_adapter() || slot.alike() < slot.cached.len() || !archive.is_wanted(&slot.salt, &slot.cached) {
            return;
        }
        if let Some(state) = self.forward.save(index as u32) {
            archive.save(&slot.salt, slot.cached.clone(), slot.long, state);
        }
    }
}
