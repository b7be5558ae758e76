//! Sampling parameters and their validation.
//!
//! Defaults are neutral: greedy, every filter off. A dialect sets the defaults its users expect.

use serde::{Deserialize, Serialize};

use super::{ModelError, Result};

/// A token of a model's vocabulary.
pub type TokenId = u32;

/// Most entries in [`SamplingParams::logit_bias`].
pub const MAX_LOGIT_BIAS: usize = 1024;

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
        self.logit_bias.iter().try_for_each(|&(_, bias)| within("logit_bias", bias, -100.0, 100.0))
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
}
