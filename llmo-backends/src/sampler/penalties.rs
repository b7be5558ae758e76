//! Repetition, frequency and presence penalties.

use std::collections::{HashMap, VecDeque};

use llmo_core::model::{SamplingParams, TokenId};

/// How often the tokens of a sequence occur, as far back as the penalties look.
#[derive(Debug, Clone)]
pub(super) struct Penalties {
    repetition: f32,
    frequency: f32,
    presence: f32,
    /// How many of the last tokens count; 0: all.
    window: usize,
    counts: HashMap<TokenId, Count>,
    /// What is in the window, with whether it was generated; empty without a window.
    recent: VecDeque<(TokenId, bool)>,
}

/// Occurrences of a token.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    all: u32,
    /// Of these, the generated ones.
    generated: u32,
}

impl Penalties {
    /// `None` if all are off.
    pub(super) fn new(params: &SamplingParams) -> Option<Self> {
        params.has_penalties().then(|| Self {
            repetition: params.repetition_penalty,
            frequency: params.frequency_penalty,
            presence: params.presence_penalty,
            window: params.penalty_window as usize,
            counts: HashMap::new(),
            recent: VecDeque::new(),
        })
    }

    /// Appends a token. The repetition penalty counts all, the others only generated ones.
    pub(super) fn push(&mut self, token: TokenId, generated: bool) {
        let count = self.counts.entry(token).or_default();
        count.all += 1;
        count.generated += u32::from(generated);
        if self.window == 0 {
            return;
        }
        self.recent.push_back((token, generated));
        if self.recent.len() > self.window
            && let Some((old, was_generated)) = self.recent.pop_front()
            && let Some(count) = self.counts.get_mut(&old)
        {
            count.all -= 1;
            count.generated -= u32::from(was_generated);
            if count.all == 0 {
                self.counts.remove(&old);
            }
        }
    }

    pub(super) fn apply(&self, logits: &mut [f32]) {
        for (&token, count) in &self.counts {
            let Some(logit) = logits.get_mut(token as usize) else { continue };
            // Dividing a negative logit would make the token likelier.
            *logit = if *logit > 0.0 { *logit / self.repetition } else { *logit * self.repetition };
            if count.generated > 0 {
                *logit -= count.generated as f32 * self.frequency + self.presence;
            }
        }
    }
}
