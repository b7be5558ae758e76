//! From a request to what will be generated. Pure.

use llmo_core::GenerateRequest;
use llmo_core::model::{ModelError, Prompt, Result, TokenId, TokenizeOptions};

use super::options::SimOptions;
use super::vocabulary::{self, VOCAB_SIZE, Word};

/// A generation before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens that were generated before, elsewhere.
    pub resumed: u32,
    /// The first word.
    pub first: Word,
    /// Most words, by `max_tokens` and the context.
    pub limit: u32,
    /// Words until the answer is complete.
    pub until_end: u32,
}

impl Plan {
    /// Checks the request and chooses its stream; `random` decides for a request that samples without a seed.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] and [`ModelError::ContextOverflow`].
    pub fn new(request: &GenerateRequest, options: &SimOptions, random: u64) -> Result<Self> {
        request.validate()?;
        if let Some(&(token, _)) = request.sampling.logit_bias.iter().find(|(token, _)| *token >= VOCAB_SIZE) {
            return Err(vocabulary::outside("logit_bias", token));
        }
        if let Some(&token) = request.stop_tokens.iter().find(|token| **token >= VOCAB_SIZE) {
            return Err(vocabulary::outside("stop_token_ids", token));
        }
        if let Some(&token) = request.output_prefix.iter().find(|token| **token >= VOCAB_SIZE) {
            return Err(vocabulary::outside("output_prefix", token));
        }
        let mut prompt = prompt_tokens(&request.prompt)?;
        let prompt_tokens = prompt.len() as u64;
        let resumed = u32::try_from(request.output_prefix.len()).unwrap_or(u32::MAX);
        let limit = limit(prompt.len(), request.max_tokens, options.context_length)?.saturating_sub(resumed);
        prompt.extend_from_slice(&request.output_prefix);
        let seed = if request.sampling.temperature == 0.0 { 0 } else { request.sampling.seed.unwrap_or(random) };
        let first = match prompt.last().copied().and_then(Word::of) {
            Some(last) => last.next(),
            None => Word { stream: vocabulary::stream_of(&prompt, seed), place: 0 },
        };
        let until_end = options.answer_tokens.saturating_sub(first.place);
        Ok(Self { prompt_tokens, resumed, first, limit, until_end })
    }
}

/// The prompt as tokens.
fn prompt_tokens(prompt: &Prompt) -> Result<Vec<TokenId>> {
    match prompt {
        Prompt::Chat(messages) => Ok(vocabulary::tokenize_chat(messages)),
        Prompt::Text(text) => Ok(vocabulary::tokenize(text, TokenizeOptions::with_special())),
        Prompt::Tokens(tokens) => match tokens.iter().find(|token| **token >= VOCAB_SIZE) {
            Some(&token) => Err(vocabulary::outside("prompt", token)),
            None => Ok(tokens.clone()),
        },
        _ => Err(ModelError::invalid("prompt", "of a kind that the simulator does not know")),
    }
}

/// Most tokens that may be generated.
fn limit(prompt: usize, max_tokens: Option<u32>, context_length: u32) -> Result<u32> {
    let room = u32::try_from(prompt).ok().and_then(|prompt| context_length.checked_sub(prompt)).unwrap_or(0);
    let wanted = max_tokens.unwrap_or(1);
    if wanted > room {
        return Err(ModelError::ContextOverflow {
            prompt_tokens: prompt as u64,
            max_tokens: u64::from(wanted),
            context_length: u64::from(context_length),
        });
    }
    Ok(max_tokens.unwrap_or(room))
}

#[cfg(test)]
mod tests {
    use llmo_core::model::SamplingParams;

    use super::*;

    fn plan(request: &GenerateRequest) -> Plan {
        Plan::new(request, &SimOptions::default(), 7).unwrap()
    }

    #[test]
    fn a_prompt_that_ends_in_a_word_is_continued_after_it() {
        let whole = plan(&GenerateRequest::ask("hello"));
        let Prompt::Chat(messages) = GenerateRequest::ask("hello").prompt else { unreachable!() };
        let mut tokens = vocabulary::tokenize_chat(&messages);
        tokens.extend([whole.first.token(), whole.first.next().token()]);
        let rest = plan(&GenerateRequest::new(Prompt::Tokens(tokens)));
        assert_eq!(rest.first, whole.first.next().next());
        assert_eq!(rest.until_end + 2, whole.until_end);
    }

    #[test]
    fn only_sampling_looks_at_the_seed() {
        let seeded = |temperature, seed| {
            let mut sampling = SamplingParams::at_temperature(temperature);
            sampling.seed = seed;
            plan(&GenerateRequest::ask("hello").sampling(sampling)).first.stream
        };
        assert_eq!(seeded(0.0, Some(1)), seeded(0.0, Some(2)));
        assert_ne!(seeded(1.0, Some(1)), seeded(1.0, Some(2)));
        assert_eq!(seeded(1.0, None), seeded(1.0, Some(7)));
    }

    #[test]
    fn what_does_not_fit_the_context_is_refused_with_the_counts() {
        assert_eq!(limit(10, None, 16).unwrap(), 6);
        assert_eq!(limit(10, Some(6), 16).unwrap(), 6);
        assert!(matches!(
            limit(10, Some(7), 16),
            Err(ModelError::ContextOverflow { prompt_tokens: 10, max_tokens: 7, context_length: 16 })
        ));
        assert!(limit(16, None, 16).is_err());
        assert!(limit(17, None, 16).is_err());
    }
}
