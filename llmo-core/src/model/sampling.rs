//! Sampling parameters and their validation.
//!
//! Defaults are neutral: greedy, every filter off. A dialect sets the defaults its users expect.

use serde::{Deserialize, Serialize};

use super::{ModelError, Result};

/// A token of a model's vocabulary.
pub type TokenId = u32;

/// Most entries in [`SamplingParams::logit_bias`].
pub const MAX_LOGIT_BIAS: usize = 1024;
/// Most texts in [`DryParams::sequence_breakers`].
pub const MAX_SEQUENCE_BREAKERS: usize = 16;
/// Longest of them, in bytes.
pub const MAX_SEQUENCE_BREAKER_BYTES: usize = 128;

/// How the next token is drawn from the model's distribution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SamplingParams {
    /// 0.0: greedy. 0.0 to 2.0.
    pub temperature: f32,
    /// Keep the k likeliest tokens; 0: all.
    pub top_k: u32,
    /// Nucleus: keep the likeliest tokens that hold this probability together. Above 0.0, to 1.0 (off).
    pub top_p: f32,
    /// Keep tokens at least this share as likely as the likeliest. 0.0 (off) to 1.0.
    pub min_p: f32,
    /// Locally typical sampling's mass. Above 0.0, to 1.0 (off).
    pub typical_p: f32,
    /// Divides logits of tokens seen before. Above 0.0, to 2.0; 1.0: off.
    pub repetition_penalty: f32,
    /// Subtracted from a token's logit once for each time it was generated. -2.0 to 2.0.
    pub frequency_penalty: f32,
    /// Subtracted once from the logit of every token generated before. -2.0 to 2.0.
    pub presence_penalty: f32,
    /// Same seed, same output. `None`: unpredictable.
    pub seed: Option<u64>,
    /// Added to the logits of these tokens. -100.0 to 100.0.
    pub logit_bias: Vec<(TokenId, f32)>,
    /// How many of the last tokens the penalties look at; 0: all.
    pub penalty_window: u32,
    /// Penalises the continuation of repeated sequences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry: Option<DryParams>,
    /// Keeps the surprise of the output constant. Takes the place of top-k, typical, top-p and min-p.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirostat: Option<MirostatParams>,
}

/// DRY, "don't repeat yourself": a token that would continue a repetition of `n` tokens loses
/// `multiplier · base^(n - allowed_length)` from its logit (p-e-w, text-generation-webui #5677).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DryParams {
    /// Strength; above 0.0, to 100.0.
    pub multiplier: f32,
    /// Growth for each repeated token; 1.0 to 8.0.
    pub base: f32,
    /// Repetitions up to this length are free. 1 to 1024.
    pub allowed_length: u32,
    /// How many of the last tokens are searched for repetitions; 0: all.
    pub window: u32,
    /// No repetition reaches across these texts. At most 16, of 1 to 128 bytes.
    pub sequence_breakers: Vec<String>,
}

impl Default for DryParams {
    fn default() -> Self {
        Self {
            multiplier: 0.8,
            base: 1.75,
            allowed_length: 2,
            window: 0,
            sequence_breakers: ["\n", ":", "\"", "*"].map(String::from).to_vec(),
        }
    }
}

/// Mirostat (Basu et al., 2021).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MirostatParams {
    /// 1 or 2.
    pub version: u8,
    /// Target surprise, in bits. Above 0.0, to 20.0.
    pub tau: f32,
    /// How fast it adapts. Above 0.0, to 1.0.
    pub eta: f32,
    /// The largest surprise allowed for the next token, in bits: the state of the algorithm. `None`: `2 · tau`, where
    /// every sequence begins. [`Delta::mirostat_mu`](super::Delta::mirostat_mu) tells it after each token; whoever
    /// continues a sequence hands the last one on. Finite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mu: Option<f32>,
}

impl Default for MirostatParams {
    fn default() -> Self {
        Self { version: 2, tau: 5.0, eta: 0.1, mu: None }
    }
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            seed: None,
            logit_bias: Vec::new(),
            penalty_window: 0,
            dry: None,
            mirostat: None,
        }
    }
}

impl SamplingParams {
    /// The likeliest token each time.
    #[must_use]
    pub fn greedy() -> Self {
        Self::default()
    }

    /// Sampling at this temperature, every filter off.
    #[must_use]
    pub fn at_temperature(temperature: f32) -> Self {
        Self { temperature, ..Self::default() }
    }

    /// Is any of the penalties on that look back over the sequence?
    #[must_use]
    pub fn has_penalties(&self) -> bool {
        self.repetition_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0
    }

    /// Checks every value against the range in its field's documentation. NaN and infinities are refused.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`], naming the parameter.
    pub fn validate(&self) -> Result<()> {
        within("temperature", self.temperature, 0.0, 2.0)?;
        above_zero("top_p", self.top_p, 1.0)?;
        within("min_p", self.min_p, 0.0, 1.0)?;
        above_zero("typical_p", self.typical_p, 1.0)?;
        above_zero("repetition_penalty", self.repetition_penalty, 2.0)?;
        within("frequency_penalty", self.frequency_penalty, -2.0, 2.0)?;
        within("presence_penalty", self.presence_penalty, -2.0, 2.0)?;
        if self.logit_bias.len() > MAX_LOGIT_BIAS {
            return Err(ModelError::invalid("logit_bias", format!("at most {MAX_LOGIT_BIAS} entries")));
        }
        self.logit_bias.iter().try_for_each(|&(_, bias)| within("logit_bias", bias, -100.0, 100.0))?;
        self.dry.as_ref().map_or(Ok(()), DryParams::validate)?;
        self.mirostat.as_ref().map_or(Ok(()), MirostatParams::validate)
    }
}

impl DryParams {
    fn validate(&self) -> Result<()> {
        above_zero("dry_multiplier", self.multiplier, 100.0)?;
        within("dry_base", self.base, 1.0, 8.0)?;
        if !(1..=1024).contains(&self.allowed_length) {
            let message = format!("must be between 1 and 1024, got {}", self.allowed_length);
            return Err(ModelError::invalid("dry_allowed_length", message));
        }
        let breakers = &self.sequence_breakers;
        if breakers.len() > MAX_SEQUENCE_BREAKERS {
            let message = format!("at most {MAX_SEQUENCE_BREAKERS} texts, got {}", breakers.len());
            return Err(ModelError::invalid("dry_sequence_breakers", message));
        }
        if breakers.iter().any(|text| text.is_empty() || text.len() > MAX_SEQUENCE_BREAKER_BYTES) {
            let message = format!("each must be 1 to {MAX_SEQUENCE_BREAKER_BYTES} bytes long");
            return Err(ModelError::invalid("dry_sequence_breakers", message));
        }
        Ok(())
    }
}

impl MirostatParams {
    fn validate(&self) -> Result<()> {
        if !(1..=2).contains(&self.version) {
            return Err(ModelError::invalid("mirostat", format!("must be 1 or 2 (0: off), got {}", self.version)));
        }
        above_zero("mirostat_tau", self.tau, 20.0)?;
        above_zero("mirostat_eta", self.eta, 1.0)?;
        match self.mu {
            Some(mu) if !mu.is_finite() => Err(ModelError::invalid("mirostat_mu", format!("must be finite, got {mu}"))),
            _ => Ok(()),
        }
    }
}

fn within(name: &'static str, value: f32, low: f32, high: f32) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(ModelError::invalid(name, format!("must be between {low} and {high}, got {value}")))
}

fn above_zero(name: &'static str, value: f32, high: f32) -> Result<()> {
    if value > 0.0 && value <= high {
        return Ok(());
    }
    Err(ModelError::invalid(name, format!("must be above 0 and at most {high}, got {value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neutral_defaults_are_valid() {
        assert!(SamplingParams::default().validate().is_ok());
    }

    #[test]
    fn nan_and_infinity_are_refused_by_name() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.1] {
            let params = SamplingParams { temperature: bad, ..SamplingParams::default() };
            let error = params.validate().unwrap_err();
            assert!(error.to_string().contains("temperature"), "{error}");
            let params = SamplingParams { top_p: bad, ..SamplingParams::default() };
            assert!(params.validate().unwrap_err().to_string().contains("top_p"));
        }
    }

    #[test]
    fn logit_bias_is_bounded_in_count_and_value() {
        let many = SamplingParams { logit_bias: vec![(1, 0.0); MAX_LOGIT_BIAS + 1], ..SamplingParams::default() };
        assert!(many.validate().is_err());
        let huge = SamplingParams { logit_bias: vec![(1, 101.0)], ..SamplingParams::default() };
        assert!(huge.validate().is_err());
    }

    #[test]
    fn every_parameter_of_dry_and_mirostat_is_refused_by_name() {
        type Damage<P> = fn(&mut P);
        let dry: [(&str, Damage<DryParams>); 11] = [
            ("dry_multiplier", |p| p.multiplier = 0.0),
            ("dry_multiplier", |p| p.multiplier = f32::NAN),
            ("dry_multiplier", |p| p.multiplier = 100.5),
            ("dry_base", |p| p.base = 0.9),
            ("dry_base", |p| p.base = f32::INFINITY),
            ("dry_allowed_length", |p| p.allowed_length = 0),
            ("dry_allowed_length", |p| p.allowed_length = u32::MAX),
            ("dry_sequence_breakers", |p| p.sequence_breakers = vec!["x".into(); MAX_SEQUENCE_BREAKERS + 1]),
            ("dry_sequence_breakers", |p| p.sequence_breakers = vec![String::new()]),
            ("dry_sequence_breakers", |p| p.sequence_breakers = vec!["x".repeat(MAX_SEQUENCE_BREAKER_BYTES + 1)]),
            ("dry_base", |p| p.base = f32::NAN),
        ];
        let mirostat: [(&str, Damage<MirostatParams>); 7] = [
            ("mirostat", |p| p.version = 3),
            ("mirostat", |p| p.version = 0),
            ("mirostat_tau", |p| p.tau = 0.0),
            ("mirostat_tau", |p| p.tau = f32::NAN),
            ("mirostat_eta", |p| p.eta = 1.5),
            ("mirostat_eta", |p| p.eta = -0.1),
            ("mirostat_mu", |p| p.mu = Some(f32::INFINITY)),
        ];
        let damaged_dry = dry.map(|(name, damage)| {
            let mut params = DryParams::default();
            damage(&mut params);
            (name, SamplingParams { dry: Some(params), ..SamplingParams::default() })
        });
        let damaged_mirostat = mirostat.map(|(name, damage)| {
            let mut params = MirostatParams::default();
            damage(&mut params);
            (name, SamplingParams { mirostat: Some(params), ..SamplingParams::default() })
        });
        for (name, params) in damaged_dry.into_iter().chain(damaged_mirostat) {
            match params.validate() {
                Err(ModelError::InvalidRequest { param, .. }) => assert_eq!(param, name),
                other => panic!("{name}: {other:?}"),
            }
        }
        let whole = SamplingParams {
            dry: Some(DryParams::default()),
            mirostat: Some(MirostatParams::default()),
            ..SamplingParams::default()
        };
        assert!(whole.validate().is_ok());
    }
}
