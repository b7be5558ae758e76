//! Draws the next token from a model's logits; shared by every backend that sees logits.
//!
//! Order: logit bias, penalties, then top-k, typical, top-p, min-p, temperature, and one seeded draw; llama.cpp's own
//! order. Pure: the only source of randomness is the seed, and the draw at a place depends on nothing but the seed and
//! that place's index in the sequence. So a replica that is handed the tokens so far continues a seeded stream exactly.

mod draw;
mod filters;

use std::collections::HashMap;

use llmo_core::ModelError;
use llmo_core::model::{SamplingParams, TokenId};

use self::draw::uniform;
use self::filters::Candidates;

/// Chooses tokens for one sequence.
#[derive(Debug)]
pub(crate) struct Sampler {
    params: SamplingParams,
    seed: u64,
    /// Index in the sequence of the token that is drawn next.
    position: u64,
    /// Tokens of prompt and output, with how often each was generated. Kept only where a penalty reads it.
    seen: HashMap<TokenId, u32>,
    penalised: bool,
    candidates: Candidates,
}

impl Sampler {
    /// A sampler for one sequence of a model with `vocab_size` tokens. Without a seed, one is drawn from the system.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] for a parameter out of range or a biased token outside the vocabulary.
    pub(crate) fn new(params: &SamplingParams, vocab_size: usize) -> Result<Self, ModelError> {
        params.validate()?;
        if let Some((token, _)) = params.logit_bias.iter().find(|(token, _)| *token as usize >= vocab_size) {
            let message = format!("token {token} is outside the vocabulary of {vocab_size} tokens");
            return Err(ModelError::invalid("logit_bias", message));
        }
        let penalised =
            params.repetition_penalty != 1.0 || params.frequency_penalty != 0.0 || params.presence_penalty != 0.0;
        Ok(Self {
            seed: params.seed.unwrap_or_else(|| fastrand::u64(..)),
            params: params.clone(),
            position: 0,
            seen: HashMap::new(),
            penalised,
            candidates: Candidates::default(),
        })
    }

    /// Reports the prompt: the repetition penalty counts its tokens, the other penalties don't.
    pub(crate) fn prime(&mut self, prompt: &[TokenId]) {
        self.position += prompt.len() as u64;
        if self.penalised {
            for &token in prompt {
                self.seen.entry(token).or_insert(0);
            }
        }
    }

    /// Does [`sample`](Self::sample) change logits in place? If so, whoever reports log probabilities copies them first.
    pub(crate) fn changes_logits(&self) -> bool {
        self.penalised || !self.params.logit_bias.is_empty()
    }

    /// Chooses the next token from `logits`, one for each token of the vocabulary. NaN counts as minus infinity; the
    /// caller refuses a model all of whose logits are (the token chosen then has no finite logit).
    ///
    /// Greedy allocates nothing; otherwise one scratch buffer is kept from call to call.
    pub(crate) fn sample(&mut self, logits: &mut [f32]) -> TokenId {
        self.adjust(logits);
        if self.params.temperature == 0.0 {
            return argmax(logits);
        }
        let candidates = &mut self.candidates;
        candidates.fill(logits);
        if candidates.is_empty() {
            return argmax(logits);
        }
        candidates.top_k(self.params.top_k as usize);
        candidates.typical(self.params.typical_p);
        candidates.top_p(self.params.top_p);
        candidates.min_p(self.params.min_p);
        candidates.choose(self.params.temperature, uniform(self.seed, self.position))
    }

    /// Reports the token that was appended to the sequence: the one sampled, or another.
    pub(crate) fn accept(&mut self, token: TokenId) {
        self.position += 1;
        if self.penalised {
            *self.seen.entry(token).or_insert(0) += 1;
        }
    }

    fn adjust(&self, logits: &mut [f32]) {
        for &(token, bias) in &self.params.logit_bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
        for (&token, &count) in &self.seen {
            let Some(logit) = logits.get_mut(token as usize) else { continue };
            // Dividing a negative logit would make the token likelier.
            let penalty = self.params.repetition_penalty;
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            if count > 0 {
                *logit -= count as f32 * self.params.frequency_penalty + self.params.presence_penalty;
            }
        }
    }
}

/// The first of the largest values; NaN never wins. 0 for an empty slice.
pub(crate) fn argmax(logits: &[f32]) -> TokenId {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            best = (token, logit);
        }
    }
    best.0 as TokenId
}

#[cfg(test)]
mod tests;
