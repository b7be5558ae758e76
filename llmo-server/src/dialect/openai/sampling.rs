//! Sampling parameters of a request, and limits on its output.

use std::collections::BTreeMap;

use llmo_core::GenerateRequest;
use llmo_core::model::{SamplingParams, TokenId};

use super::wire::OneOrMany;
use crate::dialect::call::MAX_CHOICES;
use crate::fault::Fault;

/// OpenAI's default.
const TEMPERATURE: f32 = 1.0;

/// The parameters that chat and completions have in common, as the client sent them.
#[derive(Debug, Default)]
pub(super) struct Sampling {
    pub(super) temperature: Option<f32>,
    pub(super) top_p: Option<f32>,
    pub(super) top_k: Option<i64>,
    pub(super) min_p: Option<f32>,
    pub(super) typical_p: Option<f32>,
    pub(super) repetition_penalty: Option<f32>,
    pub(super) frequency_penalty: Option<f32>,
    pub(super) presence_penalty: Option<f32>,
    pub(super) seed: Option<u64>,
    pub(super) logit_bias: Option<BTreeMap<String, f32>>,
    pub(super) stop: Option<OneOrMany>,
}

impl Sampling {
    /// Sets them on a request.
    pub(super) fn apply(self, request: &mut GenerateRequest) -> Result<(), Fault> {
        let neutral = SamplingParams::default();
        let mut sampling = SamplingParams::at_temperature(self.temperature.unwrap_or(TEMPERATURE));
        sampling.top_p = self.top_p.unwrap_or(neutral.top_p);
        sampling.top_k = top_k(self.top_k.unwrap_or(0))?;
        sampling.min_p = self.min_p.unwrap_or(neutral.min_p);
        sampling.typical_p = self.typical_p.unwrap_or(neutral.typical_p);
        sampling.repetition_penalty = self.repetition_penalty.unwrap_or(neutral.repetition_penalty);
        sampling.frequency_penalty = self.frequency_penalty.unwrap_or(neutral.frequency_penalty);
        sampling.presence_penalty = self.presence_penalty.unwrap_or(neutral.presence_penalty);
        sampling.seed = self.seed;
        sampling.logit_bias = self.logit_bias.unwrap_or_default().into_iter().map(bias).collect::<Result<_, _>>()?;
        request.sampling = sampling;
        request.stop = self.stop.unwrap_or_default().0;
        Ok(())
    }
}

/// `-1` means all, as in vLLM.
fn top_k(k: i64) -> Result<u32, Fault> {
    match k {
        -1 => Ok(0),
        k => u32::try_from(k).map_err(|_| Fault::invalid("top_k", format!("must be 0 (all) or more, got {k}"))),
    }
}

fn bias((token, bias): (String, f32)) -> Result<(TokenId, f32), Fault> {
    match token.parse() {
        Ok(token) => Ok((token, bias)),
        Err(_) => Err(Fault::invalid("logit_bias", format!("the keys are token ids, {token:?} is not one"))),
    }
}

/// Checks the number of choices.
pub(super) fn choices(n: Option<u32>) -> Result<u32, Fault> {
    let n = n.unwrap_or(1);
    if (1..=MAX_CHOICES as u32).contains(&n) {
        return Ok(n);
    }
    Err(Fault::invalid("n", format!("must be between 1 and {MAX_CHOICES}, got {n}")))
}
