//! Byte-level BPE: words by the family's regular expressions, bytes as GPT-2's alphabet, merges by rank.
//!
//! The work is done by the `tokenizers` crate; this module gives it what the GGUF file holds.

use std::collections::HashSet;

use llmo_core::ModelError;
use llmo_core::model::TokenId;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{Model, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior};

use super::pre_tokenizer::Rules;
use super::vocabulary::Vocabulary;
use crate::candle::metadata::Metadata;

#[derive(Debug)]
pub(super) struct Bpe {
    words: Sequence,
    merges: BPE,
}

impl Bpe {
    pub(super) fn build(metadata: Metadata<'_>, vocabulary: &Vocabulary, rules: &Rules) -> Result<Self, ModelError> {
        let key = "tokenizer.ggml.merges";
        let mut seen = HashSet::new();
        let merges: Vec<(String, String)> = metadata
            .need(key, metadata.texts(key))?
            .iter()
            .filter_map(|merge| split_merge(merge))
            // A merge of unknown parts, or into nothing known, never happens; the first of equal ones has the rank.
            .filter(|(left, right)| {
                let known = |text: &str| vocabulary.ids.contains_key(text);
                known(left) && known(right) && known(&[*left, *right].concat()) && seen.insert((*left, *right))
            })
            .map(|(left, right)| (left.to_owned(), right.to_owned()))
            .collect();
        let ids: tokenizers::models::bpe::Vocab = vocabulary.ids.iter().map(|(text, id)| (text.clone(), *id)).collect();
        let merges = BPE::builder()
            .vocab_and_merges(ids, merges)
            .ignore_merges(rules.ignores_merges)
            .build()
            .map_err(|error| metadata.corrupt(format!("{key}: {error}")))?;

        let mut words = Vec::new();
        for expression in &rules.expressions {
            let pattern = SplitPattern::Regex((*expression).to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                .map_err(|error| ModelError::Internal(format!("pre-tokenizer: {error}")))?;
            words.push(split.into());
        }
        words.push(ByteLevel::new(false, false, false).into());
        Ok(Self { words: Sequence::new(words), merges })
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<TokenId>) -> Result<(), ModelError> {
        let failed = |error| ModelError::Internal(format!("tokenizer: {error}"));
        let mut words = PreTokenizedString::from(text);
        self.words.pre_tokenize(&mut words).map_err(failed)?;
        for (word, ..) in words.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            tokens.extend(self.merges.tokenize(word).map_err(failed)?.iter().map(|token| token.id));
        }
        Ok(())
    }
}

/// The two sides of a merge; the blank between them is not its first character.
fn split_merge(merge: &str) -> Option<(&str, &str)> {
    let first = merge.chars().next()?.len_utf8();
    let blank = first + merge[first..].find(' ')?;
    Some((&merge[..blank], &merge[blank + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_may_begin_with_a_blank() {
        assert_eq!(split_merge("a b"), Some(("a", "b")));
        assert_eq!(split_merge("  b"), Some((" ", "b")));
        assert_eq!(split_merge("ab"), None);
        assert_eq!(split_merge(""), None);
    }
}
