//! What can be set about a simulated model.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a [`SimModel`](super::SimModel) behaves. The default is instant and has four slots.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SimOptions {
    /// The model's name.
    pub id: String,
    /// Longest prompt plus output, in tokens. A token of a prompt is a byte.
    pub context_length: u32,
    /// Tokens of a prompt read in a second; infinite: at once.
    pub prefill_tokens_per_second: f64,
    /// Tokens generated in a second by each stream, however many run; infinite: at once.
    pub decode_tokens_per_second: f64,
    /// Streams that run at once.
    pub slots: u32,
    /// Requests that may wait for a slot; one more is refused as overloaded.
    pub queue: u32,
    /// What an overloaded model tells its callers to wait.
    pub retry_after: Duration,
    /// Length of an answer that nothing cuts short, in tokens: the place of the end-of-text token.
    pub answer_tokens: u32,
    /// What the words look like.
    pub text: SimText,
    /// Length of embedding vectors.
    pub dimensions: u32,
    /// A prompt with this text in it aborts the process once it has a slot, as a fault in native code does. Only for
    /// simulators in a process of their own.
    pub abort_on: Option<String>,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            id: "sim".into(),
            context_length: 32_768,
            prefill_tokens_per_second: f64::INFINITY,
            decode_tokens_per_second: f64::INFINITY,
            slots: 4,
            queue: 64,
            retry_after: Duration::from_secs(1),
            answer_tokens: 64,
            text: SimText::Numbered,
            dimensions: 64,
            abort_on: None,
        }
    }
}

impl SimOptions {
    /// The default under another name.
    #[must_use]
    pub fn named(id: impl Into<String>) -> Self {
        Self { id: id.into(), ..Self::default() }
    }

    /// Time to read this many tokens of a prompt.
    #[must_use]
    pub fn prefill_time(&self, tokens: usize) -> Duration {
        seconds(tokens as f64 / self.prefill_tokens_per_second)
    }

    /// Time to generate one token.
    #[must_use]
    pub fn token_time(&self) -> Duration {
        seconds(1.0 / self.decode_tokens_per_second)
    }
}

/// A speed of 0 means never; a year is never enough for a test.
fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value.min(31_536_000.0)).unwrap_or(Duration::ZERO)
}

/// What the words of an answer look like. Word n is the n-th token of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SimText {
    /// `t0 t1 t2 `: the same for every prompt, so that a lost, doubled or reordered token is seen at a glance.
    #[default]
    Numbered,
    /// `3fa.0 3fa.1 `: begins with three hexadecimal digits that depend on prompt and seed, so that an answer is known
    /// to belong to its request.
    Tagged,
    /// `ż` over and over, one byte a token: no token is a whole character.
    SplitCharacters,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinite_speed_takes_no_time_and_zero_speed_takes_forever() {
        let mut options = SimOptions::default();
        assert_eq!(options.prefill_time(1_000_000), Duration::ZERO);
        assert_eq!(options.token_time(), Duration::ZERO);
        options.decode_tokens_per_second = 0.0;
        assert!(options.token_time() > Duration::from_secs(86_400 * 300));
        options.decode_tokens_per_second = 20.0;
        assert_eq!(options.token_time(), Duration::from_millis(50));
    }
}
