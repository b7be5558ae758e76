//! A model's vocabulary as the trie that masks are computed over.

use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llmo_core::model::TokenId;

use super::limits;

/// Marks special tokens in the trie. No UTF-8 text holds this byte.
const SPECIAL: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

/// A token, as far as grammars care.
#[derive(Debug, Clone, Default)]
pub(crate) struct VocabularyToken {
    /// What it adds to the output; empty for special tokens.
    pub(crate) bytes: Vec<u8>,
    /// Does it end a generation?
    pub(crate) is_end: bool,
}

/// Builds llguidance's view of a vocabulary: some 100 ms for 50 000 tokens. `None` if no token ends a generation.
pub(super) fn factory(tokens: Vec<VocabularyToken>) -> Option<Result<ParserFactory, String>> {
    let ends: Vec<TokenId> =
        (0..).zip(&tokens).filter(|(_, token)| token.is_end).map(|(id, _): (TokenId, _)| id).collect();
    let info = TokRxInfo::new(u32::try_from(tokens.len()).ok()?, *ends.first()?);
    let words: Vec<Vec<u8>> = (0..).zip(tokens).map(|(id, token)| word(id, token)).collect();
    let trie = TokTrie::from(&info, &words).with_eos_tokens(&ends);
    // Nothing is ever forced: which tokens make up a text is the model's choice, so the tokenizer isn't needed.
    let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
    let slices = llguidance::earley::SlicedBiasComputer::general_slices();
    Some(match ParserFactory::new(&environment, InferenceCapabilities::default(), &slices) {
        Ok(mut factory) => {
            factory.quiet();
            *factory.limits_mut() = limits::parser();
            Ok(factory)
        }
        Err(error) => Err(error.to_string()),
    })
}

fn word(id: TokenId, token: VocabularyToken) -> Vec<u8> {
    let is_text = !token.is_end && !token.bytes.is_empty() && !token.bytes.contains(&SPECIAL);
    if is_text { token.bytes } else { [&[SPECIAL][..], format!("<|llmo-{id}|>").as_bytes()].concat() }
}
