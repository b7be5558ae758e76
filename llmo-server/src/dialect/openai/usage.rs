//! `usage`, and the extension `llmo` with times and the stop string.

use llmo_core::model::{Finish, Timings, Usage};
use serde::Serialize;

/// `usage` of an answer.
#[derive(Debug, Serialize)]
pub(super) struct WireUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
}

#[derive(Debug, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

impl From<Usage> for WireUsage {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.total(),
            prompt_tokens_details: PromptDetails { cached_tokens: usage.cached_tokens },
        }
    }
}

/// The usage of all choices together: a prompt counts once, however many choices it has.
pub(crate) fn total<'a>(finishes: impl IntoIterator<Item = &'a Finish>, per_prompt: usize) -> Usage {
    let mut sum = Usage::default();
    for (i, finish) in finishes.into_iter().enumerate() {
        sum.completion_tokens += finish.usage.completion_tokens;
        if i % per_prompt.max(1) == 0 {
            sum.prompt_tokens += finish.usage.prompt_tokens;
            sum.cached_tokens += finish.usage.cached_tokens;
        }
    }
    sum
}

/// The extension `llmo`: where time went, and which stop string ended the text.
#[derive(Debug, Serialize)]
pub(super) struct Extension {
    timings: WireTimings,
    stop: Option<String>,
}

#[derive(Debug, Serialize)]
struct WireTimings {
    queue_ms: f64,
    prefill_ms: f64,
    decode_ms: f64,
}

impl Extension {
    /// Of several choices: the longest times, and the first choice's stop string.
    pub(super) fn of(finishes: &[&Finish]) -> Self {
        let longest = |part: fn(&Timings) -> std::time::Duration| {
            finishes.iter().map(|finish| part(&finish.timings)).max().unwrap_or_default().as_micros() as f64 / 1e3
        };
        Self {
            timings: WireTimings {
                queue_ms: longest(|t| t.queue),
                prefill_ms: longest(|t| t.prefill),
                decode_ms: longest(|t| t.decode),
            },
            stop: finishes.first().and_then(|finish| finish.stop.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use llmo_core::FinishReason;

    use super::*;

    #[test]
    fn a_prompt_counts_once_for_all_its_choices() {
        let finish = Finish::new(FinishReason::Stop, Usage::new(10, 3));
        let four = [&finish, &finish, &finish, &finish];
        assert_eq!(total(four, 2), Usage::new(20, 12));
        assert_eq!(total(four, 4), Usage::new(10, 12));
    }
}
