//! Draws the next token from a model's logits; shared by every backend that sees logits.
//!
//! ```text
//!  logits ─► bias ─► penalties ─► DRY ─┬─► top-k ─► typical ─► top-p ─► min-p ─► temperature ─┬─► one seeded draw
//!                                      └─► temperature ─► mirostat ───────────────────────────┘
//! ```
//!
//! That is llama.cpp's own order. Pure: the only source of randomness is the seed, and the draw at a place depends on
//! nothing but the seed and that place's index in the sequence, never on what else is in the batch. So a replica that is
//! handed the tokens so far continues a seeded stream exactly. Everything else that a sampler knows of the past follows
//! from the tokens, except mirostat's `mu`, which depends on probabilities of earlier steps: it travels
//! ([`Sampler::mirostat_mu`] out, [`MirostatParams::mu`](llmo_core::model::MirostatParams::mu) in).

mod draw;
mod dry;
mod filters;
mod mirostat;
mod penalties;
pub(crate) mod softmax;

use std::fmt::Debug;
use std::sync::Arc;

use llmo_core::ModelError;
use llmo_core::model::{SamplingParams, TokenId};

use self::draw::uniform;
use self::dry::Dry;
use self::filters::{Candidates, choose_from_all};
use self::mirostat::Mirostat;
use self::penalties::Penalties;

/// The texts of a model's tokens, for DRY's sequence breakers.
pub trait TokenTexts: Debug + Send + Sync {
    /// The bytes of a token, those of control tokens included; nothing outside the vocabulary.
    fn text(&self, token: TokenId) -> &[u8];
}

/// Chooses tokens for one sequence.
///
/// ```
/// use std::sync::Arc;
///
/// use llmo_backends::sampler::{Sampler, TokenTexts};
/// use llmo_core::model::{SamplingParams, TokenId};
///
/// #[derive(Debug)]
/// struct Letters;
///
/// impl TokenTexts for Letters {
///     fn text(&self, token: TokenId) -> &[u8] {
///         b"abcd".get(token as usize).map(std::slice::from_ref).unwrap_or_default()
///     }
/// }
///
/// # fn main() -> Result<(), llmo_core::ModelError> {
/// let mut params = SamplingParams::at_temperature(0.8);
/// (params.top_k, params.seed) = (2, Some(7));
/// let mut sampler = Sampler::new(&params, 4, &Arc::new(Letters))?;
/// sampler.prime(&[0, 1], 0);
/// let token = sampler.sample(&mut [0.0, 3.0, 2.5, -1.0]);
/// assert!(token == 1 || token == 2);
/// sampler.accept(token);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Sampler {
    params: SamplingParams,
    seed: u64,
    /// Index in the sequence of the token that is drawn next.
    position: u64,
    penalties: Option<Penalties>,
    dry: Option<Dry>,
    mirostat: Option<Mirostat>,
    candidates: Candidates,
    sums: Vec<f64>,
}

impl Sampler {
    /// A sampler for one sequence of a model with `vocab_size` tokens. Without a seed, one is drawn from the system.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] for a parameter out of range or a biased token outside the vocabulary.
    pub fn new<T: TokenTexts + 'static>(
        params: &SamplingParams,
        vocab_size: usize,
        texts: &Arc<T>,
    ) -> Result<Self, ModelError> {
        params.validate()?;
        if let Some((token, _)) = params.logit_bias.iter().find(|(token, _)| *token as usize >= vocab_size) {
            let message = format!("token {token} is outside the vocabulary of {vocab_size} tokens");
            return Err(ModelError::invalid("logit_bias", message));
        }
        // Greedy takes the likeliest whatever mirostat would leave of the rest.
        let mirostat = params.mirostat.filter(|_| params.temperature > 0.0);
        Ok(Self {
            seed: params.seed.unwrap_or_else(|| fastrand::u64(..)),
            position: 0,
            penalties: Penalties::new(params),
            dry: params.dry.clone().map(|dry| Dry::new(dry, Arc::clone(texts) as Arc<dyn TokenTexts>)),
            mirostat: mirostat.map(|mirostat| Mirostat::new(mirostat, params.temperature)),
            candidates: Candidates::default(),
            sums: Vec::new(),
            params: params.clone(),
        })
    }

    /// Reports the prompt, the last `resumed` tokens of which are output that was generated before.
    pub fn prime(&mut self, prompt: &[TokenId], resumed: usize) {
        let read = prompt.len().saturating_sub(resumed);
        for (index, &token) in prompt.iter().enumerate() {
            self.push(token, index >= read);
        }
    }

    /// Does [`sample`](Self::sample) change logits in place? If so, whoever reports log probabilities copies them first.
    #[must_use]
    pub fn changes_logits(&self) -> bool {
        self.penalties.is_some() || self.dry.is_some() || !self.params.logit_bias.is_empty()
    }

    /// Mirostat's state after the last token, if it is on.
    #[must_use]
    pub fn mirostat_mu(&self) -> Option<f32> {
        self.mirostat.as_ref().map(Mirostat::mu)
    }

    /// Chooses the next token from `logits`, one for each token of the vocabulary. NaN counts as minus infinity; the
    /// caller refuses a model all of whose logits are (the token chosen then has no finite logit).
    ///
    /// Greedy allocates nothing; otherwise scratch buffers are kept from call to call. Microseconds for 49 152 logits on
    /// one AVX-512 core are in `benches/sampling.rs`.
    pub fn sample(&mut self, logits: &mut [f32]) -> TokenId {
        self.adjust(logits);
        if self.params.temperature == 0.0 {
            return argmax(logits);
        }
        let max = softmax::max(logits);
        if max == f32::NEG_INFINITY {
            return argmax(logits);
        }
        if max == f32::INFINITY {
            return self.among_infinite(logits);
        }
        let at = uniform(self.seed, self.position);
        let params = &self.params;
        let candidates = &mut self.candidates;
        if let Some(mirostat) = &self.mirostat {
            mirostat.take(candidates, logits, max);
            return candidates.choose(params.temperature, at);
        }
        let top_k = params.top_k as usize;
        if top_k > 0 && top_k < logits.len() {
            candidates.take_top_k(logits, top_k);
            candidates.typical(params.typical_p);
            candidates.top_p(params.top_p);
            candidates.min_p(params.min_p);
        } else if params.typical_p < 1.0 {
            candidates.take_typical(logits, max, params.typical_p);
            candidates.top_p(params.top_p);
            candidates.min_p(params.min_p);
        } else if params.top_p < 1.0 {
            candidates.take_nucleus(logits, max, params.top_p, params.min_p);
        } else if params.min_p > 0.0 {
            candidates.take_above(logits, (max + params.min_p.ln()).min(max));
        } else {
            return choose_from_all(logits, max, params.temperature, at, &mut self.sums);
        }
        candidates.choose(params.temperature, at)
    }

    /// Reports the token that was appended to the sequence: the one sampled, or another.
    pub fn accept(&mut self, token: TokenId) {
        self.push(token, true);
        if let Some(mirostat) = &mut self.mirostat {
            mirostat.learn(&self.candidates, token);
        }
    }

    fn push(&mut self, token: TokenId, generated: bool) {
        self.position += 1;
        if let Some(penalties) = &mut self.penalties {
            penalties.push(token, generated);
        }
        if let Some(dry) = &mut self.dry {
            dry.push(token);
        }
    }

    /// A broken model: what is infinitely likely is drawn, each as likely as the others.
    fn among_infinite(&mut self, logits: &[f32]) -> TokenId {
        self.candidates.take_above(logits, f32::INFINITY);
        self.candidates.choose(self.params.temperature, uniform(self.seed, self.position))
    }

    fn adjust(&mut self, logits: &mut [f32]) {
        for &(token, bias) in &self.params.logit_bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
        if let Some(penalties) = &self.penalties {
            penalties.apply(logits);
        }
        if let Some(dry) = &mut self.dry {
            dry.apply(logits);
        }
    }
}

/// The first of the largest values; NaN never wins. 0 for an empty slice.
#[must_use]
pub fn argmax(logits: &[f32]) -> TokenId {
    let max = softmax::max(logits);
    if max == f32::NEG_INFINITY {
        return 0;
    }
    logits.iter().position(|&logit| logit == max).unwrap_or(0) as TokenId
}

#[cfg(test)]
#[cfg(feature = "llama-cpp")]
mod llama_tests;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
