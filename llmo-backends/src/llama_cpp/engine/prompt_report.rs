//! Log probabilities of a prompt's own tokens, collected while it is read.

use llmo_core::model::{PromptToken, TokenId, TopLogprob};

use crate::llama_cpp::vocabulary::TokenTable;
use crate::logprobs::logprobs;

/// Most tokens of such a prompt in one run: the logits of each of them are kept until they are read.
pub(super) const CHUNK: usize = 64;

/// The tokens of a prompt that have been read, and how likely each was.
#[derive(Debug)]
pub(super) struct PromptReport {
    alternatives: usize,
    tokens: Vec<PromptToken>,
}

impl PromptReport {
    /// `None` unless `alternatives` says that it is wanted. Nothing comes before the first token.
    pub(super) fn new(alternatives: Option<u32>, first: Option<&TokenId>, table: &TokenTable) -> Option<Self> {
        let first = first.map(|&token| PromptToken {
            token,
            bytes: table.bytes(token).to_vec(),
            logprob: None,
            top: Vec::new(),
        });
        alternatives.map(|n| Self { alternatives: n as usize, tokens: first.into_iter().collect() })
    }

    /// Appends the next token; `logits` are those behind the one before it. Costs two passes over them.
    pub(super) fn note(&mut self, token: TokenId, logits: &[f32], table: &TokenTable) {
        let found = logprobs(logits, token, self.alternatives);
        let bytes = |token| table.bytes(token).to_vec();
        let top = found.top.into_iter().map(|(token, logprob)| TopLogprob { token, bytes: bytes(token), logprob });
        let top = top.collect();
        self.tokens.push(PromptToken { token, bytes: bytes(token), logprob: Some(found.logprob), top });
    }

    pub(super) fn into_tokens(self) -> Vec<PromptToken> {
        self.tokens
    }
}
