//! What a dialect makes of a request: generations to run, and how to answer.

use llmo_core::GenerateRequest;
use llmo_core::model::Delta;

/// Most choices of one request, over all its prompts.
pub const MAX_CHOICES: usize = 16;

/// A translated request.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The name of the model; empty: the default model.
    pub model: String,
    /// The generations, one a choice, in the order of the choices' indices.
    pub jobs: Vec<GenerateRequest>,
    /// How to answer.
    pub form: Form,
}

/// How to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Form {
    /// Piece by piece, as server-sent events.
    pub stream: bool,
    /// In a stream, say the usage at the end.
    pub include_usage: bool,
    /// Tell the ids of tokens.
    pub token_ids: bool,
    /// Tell log probabilities.
    pub logprobs: bool,
    /// Tell log probabilities of the prompt's tokens, in vLLM's form.
    pub prompt_logprobs: bool,
    /// Completions generated for each prompt, of which `per_prompt` are told.
    pub best_of: usize,
    /// Choices of each prompt. The prompt of choice `i` is number `i / per_prompt`.
    pub per_prompt: usize,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            stream: false,
            include_usage: false,
            token_ids: false,
            logprobs: false,
            prompt_logprobs: false,
            per_prompt: 1,
            best_of: 1,
        }
    }
}

impl Form {
    /// Is there something in a piece that this answer tells?
    pub(crate) fn tells(&self, delta: &Delta) -> bool {
        !delta.text.is_empty()
            || !delta.tool_calls.is_empty()
            || (self.token_ids && !delta.tokens.is_empty())
            || (self.logprobs && !delta.logprobs.is_empty())
            || !delta.prompt.is_empty()
    }
}

/// One generation for each of `n` choices; a seed goes up by one from each to the next, so that they differ and can
/// be had again.
pub(crate) fn choices(request: GenerateRequest, n: u32) -> Vec<GenerateRequest> {
    let more = (1..n).map(|i| {
        let mut job = request.clone();
        job.sampling.seed = job.sampling.seed.map(|seed| seed.wrapping_add(u64::from(i)));
        job
    });
    let more: Vec<_> = more.collect();
    // Nearly all requests want one: that is no copy.
    let mut jobs = vec![request];
    jobs.extend(more);
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_of_a_seeded_request_have_seeds_of_their_own() {
        let mut request = GenerateRequest::ask("x");
        request.sampling.seed = Some(u64::MAX);
        let seeds: Vec<_> = choices(request, 3).into_iter().map(|job| job.sampling.seed).collect();
        assert_eq!(seeds, [Some(u64::MAX), Some(0), Some(1)]);
    }
}
