//! What the dispatcher is asked to do.

use std::sync::Arc;
use std::time::Instant;

use llmo_core::model::{GenerateRequest, Prompt};

use crate::policy::{Policy, PromptKey};
use crate::replica::Replica;

/// Bytes of text that make a token, about.
const BYTES_A_TOKEN: u64 = 4;
/// What is written where nobody said how much at most…
const TYPICAL_OUTPUT: u64 = 256;
/// …and where somebody allows very much: few answers use it up.
const LONGEST_OUTPUT: u64 = 1_024;

/// A request on its way to a replica.
#[derive(Debug)]
pub(super) struct Errand<'a> {
    pub(super) model: &'a str,
    pub(super) deadline: Option<Instant>,
    pub(super) purpose: Purpose,
    pub(super) work: Work,
    pub(super) prompt: PromptKey,
    /// May a second replica be asked too?
    pub(super) hedge: bool,
}

/// What a request is sent for.
#[derive(Debug, Default)]
pub(super) enum Purpose {
    /// It is new.
    #[default]
    Start,
    /// It began on a replica that broke: goes on elsewhere than on these.
    Continue(Vec<Arc<Replica>>),
}

impl<'a> Errand<'a> {
    /// Something small and new.
    pub(super) fn new(model: &'a str, deadline: Option<Instant>) -> Self {
        let (work, prompt) = (Work::default(), PromptKey::default());
        Self { model, deadline, purpose: Purpose::Start, work, prompt, hedge: false }
    }

    /// A generation, as this policy looks at it.
    pub(super) fn generation(model: &'a str, request: &GenerateRequest, policy: &dyn Policy) -> Self {
        let prompt = PromptKey::new(request, policy.wants());
        Self { work: Work::of(request), prompt, hedge: true, ..Self::new(model, request.deadline) }
    }

    /// Texts to read, of so many bytes.
    pub(super) fn reading(mut self, bytes: usize) -> Self {
        self.work = Work::reading(bytes);
        self
    }
}

/// What a request costs, guessed without a tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Work {
    /// Tokens to read.
    pub prompt: u64,
    /// Tokens to write.
    pub output: u64,
}

impl Work {
    /// That of a generation.
    #[must_use]
    pub fn of(request: &GenerateRequest) -> Self {
        let prompt = match &request.prompt {
            Prompt::Chat(messages) => messages.iter().map(|m| m.content.len() as u64).sum::<u64>() / BYTES_A_TOKEN,
            Prompt::Text(text) => text.len() as u64 / BYTES_A_TOKEN,
            Prompt::Tokens(tokens) => tokens.len() as u64,
            _ => 0,
        };
        let written = request.output_prefix.len() as u64;
        let output = request.max_tokens.map_or(TYPICAL_OUTPUT, u64::from).min(LONGEST_OUTPUT).saturating_sub(written);
        Self { prompt: prompt + written, output }
    }

    /// That of reading so many bytes.
    #[must_use]
    pub fn reading(bytes: usize) -> Self {
        Self { prompt: bytes as u64 / BYTES_A_TOKEN, output: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_prompts_and_long_answers_cost_more() {
        let of = |request: GenerateRequest| Work::of(&request);
        let short = of(GenerateRequest::complete("x".repeat(40)).max_tokens(5));
        assert_eq!(short, Work { prompt: 10, output: 5 });
        let open = of(GenerateRequest::complete("x"));
        assert_eq!(open.output, TYPICAL_OUTPUT);
        assert_eq!(of(GenerateRequest::complete("x").max_tokens(1_000_000)).output, LONGEST_OUTPUT);
    }

    #[test]
    fn the_rest_of_a_stream_reads_what_was_written() {
        let mut request = GenerateRequest::complete("").max_tokens(10);
        request.output_prefix = vec![1; 4];
        assert_eq!(Work::of(&request), Work { prompt: 4, output: 6 });
    }
}
