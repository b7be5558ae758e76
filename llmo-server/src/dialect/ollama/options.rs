//! `options`: how tokens are drawn, under Ollama's names and with Ollama's defaults.

use llmo_core::GenerateRequest;
use llmo_core::model::{MirostatParams, SamplingParams};
use serde::Deserialize;

use crate::dialect::openai::wire::OneOrMany;
use crate::fault::Fault;

/// What we know of them. Others, which tell Ollama how to run a model (`num_gpu`, `num_thread`, …), are for the one who
/// runs this server, and ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    num_predict: Option<i64>,
    num_ctx: Option<u32>,
    temperature: Option<f32>,
    top_k: Option<i64>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    typical_p: Option<f32>,
    repeat_penalty: Option<f32>,
    repeat_last_n: Option<i64>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    seed: Option<i64>,
    stop: Option<OneOrMany>,
    mirostat: Option<u8>,
    mirostat_tau: Option<f32>,
    mirostat_eta: Option<f32>,
}

impl Options {
    /// Sets them on a request.
    pub(super) fn apply(self, request: &mut GenerateRequest) -> Result<(), Fault> {
        if self.num_ctx == Some(0) {
            return Err(Fault::invalid("options.num_ctx", "must be at least 1"));
        }
        request.max_tokens = match self.num_predict {
            // -1: no limit; -2: until the context is full. Here the context always ends it.
            None | Some(-1 | -2) => None,
            Some(n) => Some(count("options.num_predict", n, 1)?),
        };
        let mut sampling = SamplingParams::at_temperature(self.temperature.unwrap_or(0.8));
        sampling.top_k = match self.top_k {
            Some(-1) => 0,
            Some(k) => count("options.top_k", k, 0)?,
            None => 40,
        };
        sampling.top_p = self.top_p.unwrap_or(0.9);
        sampling.min_p = self.min_p.unwrap_or(sampling.min_p);
        sampling.typical_p = self.typical_p.unwrap_or(sampling.typical_p);
        sampling.seed = self.seed.and_then(|seed| u64::try_from(seed).ok());
        let window = self.repeat_last_n.unwrap_or(64);
        // 0: no penalties; -1: over the whole context.
        if window != 0 {
            sampling.penalty_window = if window == -1 { 0 } else { count("options.repeat_last_n", window, 1)? };
            sampling.repetition_penalty = self.repeat_penalty.unwrap_or(1.1);
            sampling.presence_penalty = self.presence_penalty.unwrap_or(0.0);
            sampling.frequency_penalty = self.frequency_penalty.unwrap_or(0.0);
        }
        sampling.mirostat = self.mirostat()?;
        request.sampling = sampling;
        request.stop = self.stop.unwrap_or_default().0;
        Ok(())
    }

    fn mirostat(&self) -> Result<Option<MirostatParams>, Fault> {
        let version = match self.mirostat {
            None | Some(0) => return Ok(None),
            Some(version @ (1 | 2)) => version,
            Some(other) => return Err(Fault::invalid("options.mirostat", format!("must be 0, 1 or 2, got {other}"))),
        };
        let mut params = MirostatParams::default();
        params.version = version;
        params.tau = self.mirostat_tau.unwrap_or(params.tau);
        params.eta = self.mirostat_eta.unwrap_or(params.eta);
        Ok(Some(params))
    }
}

fn count(param: &str, n: i64, least: u32) -> Result<u32, Fault> {
    match u32::try_from(n) {
        Ok(n) if n >= least => Ok(n),
        _ => Err(Fault::invalid(param, format!("must be between {least} and {}, got {n}", u32::MAX))),
    }
}
