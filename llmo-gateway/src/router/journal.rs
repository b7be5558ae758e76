//! What a stream has given so far: all that another replica needs to go on with it.

use llmo_core::model::{Delta, GenerateRequest, TokenId};

/// Most times that one stream moves to another replica.
const MOST_MOVES: u32 = 32;
/// Most moves without a token in between: a stream that kills, or is refused by, every replica ends.
const MOST_FUTILE: u32 = 3;
/// Most deaths of engines that a stream may see, each after it had got further: by then it is more than a neighbour. One
/// without any progress since the last is decided sooner (`poison.rs`).
const MOST_DEATHS: u32 = 3;

/// The tokens of one stream. Prompt and these are its complete state, since sampling depends on nothing else, but for
/// mirostat's.
#[derive(Debug, Default)]
pub(super) struct Journal {
    tokens: Vec<TokenId>,
    mirostat_mu: Option<f32>,
    /// Text went by without the tokens that it came from: nobody could go on behind it.
    torn: bool,
    moves: u32,
    futile: u32,
    deaths: u32,
}

impl Journal {
    /// Of a stream that begins behind these tokens.
    pub(super) fn behind(tokens: Vec<TokenId>) -> Self {
        Self { tokens, ..Self::default() }
    }

    /// Takes in what goes to the caller.
    pub(super) fn note(&mut self, delta: &Delta) {
        self.torn |= delta.tokens.is_empty() && !(delta.text.is_empty() && delta.tool_calls.is_empty());
        self.tokens.extend_from_slice(&delta.tokens);
        self.mirostat_mu = delta.mirostat_mu.or(self.mirostat_mu);
        self.futile = 0;
    }

    /// Turns the request of the stream into one for the rest of it.
    pub(super) fn resume(&self, request: &mut GenerateRequest) {
        request.output_prefix.clone_from(&self.tokens);
        if let Some(mirostat) = &mut request.sampling.mirostat {
            mirostat.mu = self.mirostat_mu.or(mirostat.mu);
        }
        // Told with the first delta, which has gone by.
        request.prompt_logprobs = None;
    }

    /// All tokens so far.
    #[cfg(test)]
    pub(super) fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// The engine died with the stream in it. True if that was one death too many.
    pub(super) fn died(&mut self) -> bool {
        self.deaths += 1;
        self.deaths >= MOST_DEATHS
    }

    /// May the stream, which just broke, go on elsewhere? Counts it if so.
    pub(super) fn may_move(&mut self) -> bool {
        self.moves += 1;
        self.futile += 1;
        !self.torn && self.moves <= MOST_MOVES && self.futile <= MOST_FUTILE
    }
}

#[cfg(test)]
mod tests {
    use llmo_core::model::MirostatParams;

    use super::*;

    #[test]
    fn text_without_tokens_can_t_be_continued() {
        let mut journal = Journal::default();
        journal.note(&Delta::new("a", vec![1]));
        journal.note(&Delta::new("", vec![2]));
        assert!(journal.may_move());
        assert_eq!(journal.tokens(), [1, 2]);
        journal.note(&Delta::new("rest", Vec::new()));
        assert!(!journal.may_move());
    }

    #[test]
    fn the_rest_is_asked_for_with_all_the_state_that_tokens_don_t_hold() {
        let mut journal = Journal::default();
        let mut delta = Delta::new("a", vec![1]);
        delta.mirostat_mu = Some(7.5);
        journal.note(&delta);
        let mut request = GenerateRequest::ask("hi");
        request.sampling.mirostat = Some(MirostatParams::default());
        request.prompt_logprobs = Some(1);
        journal.resume(&mut request);
        assert_eq!(request.sampling.mirostat.and_then(|mirostat| mirostat.mu), Some(7.5));
        assert_eq!((&request.output_prefix[..], request.prompt_logprobs), (&[1][..], None));
    }

    #[test]
    fn deaths_end_a_stream_even_if_it_gets_further_each_time() {
        let mut journal = Journal::default();
        for _ in 1..MOST_DEATHS {
            journal.note(&Delta::new("a", vec![1]));
            assert!(!journal.died());
        }
        journal.note(&Delta::new("a", vec![1]));
        assert!(journal.died());
    }

    #[test]
    fn moves_without_progress_end() {
        let mut journal = Journal::default();
        assert!((0..MOST_FUTILE).all(|_| journal.may_move()));
        assert!(!journal.may_move());
        journal.note(&Delta::new("a", vec![1]));
        assert!(journal.may_move());
    }
}
