//! The model's tokens: their bytes, which ones end a generation, and text to tokens and back.

use std::collections::HashMap;
use std::sync::Arc;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token_type::LlamaTokenAttr;
use llmo_core::ModelError;
use llmo_core::model::{TokenId, TokenizeOptions};

use crate::sampler::TokenTexts;

/// The bytes of every token and the set of those that end a generation, copied out of the model once, so that a
/// decoded token costs no call into C++.
#[derive(Debug, Default)]
pub(super) struct TokenTable {
    bytes: Vec<u8>,
    /// Where each token's bytes end.
    ends: Vec<usize>,
    end_of_generation: Vec<bool>,
    /// What control tokens are called; they add nothing to the output.
    control: HashMap<TokenId, Box<[u8]>>,
}

impl TokenTable {
    /// A table of tokens given as (bytes, ends a generation), by id.
    pub(super) fn new(tokens: impl IntoIterator<Item = (Vec<u8>, bool)>) -> Self {
        let mut table = Self::default();
        for (bytes, ends_generation) in tokens {
            table.bytes.extend_from_slice(&bytes);
            table.ends.push(table.bytes.len());
            table.end_of_generation.push(ends_generation);
        }
        table
    }

    /// Tells what control tokens are called.
    fn with_control(mut self, names: impl IntoIterator<Item = (TokenId, Box<[u8]>)>) -> Self {
        self.control.extend(names);
        self
    }

    /// Has another model the very same tokens? Then one may guess for the other.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.ends == other.ends && self.end_of_generation == other.end_of_generation
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// What a token adds to the output; nothing for special tokens. May be a part of a character.
    pub(super) fn bytes(&self, token: TokenId) -> &[u8] {
        let token = token as usize;
        let start = token.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        let range = start.zip(self.ends.get(token).copied());
        range.and_then(|(start, end)| self.bytes.get(start..end)).unwrap_or_default()
    }

    /// Does the model say with this token that it is done?
    pub(super) fn ends_generation(&self, token: TokenId) -> bool {
        self.end_of_generation.get(token as usize).copied().unwrap_or(false)
    }

    /// Checks that tokens that a caller sent exist: llama.cpp would abort.
    pub(super) fn check(&self, param: &str, tokens: impl IntoIterator<Item = TokenId>) -> Result<(), ModelError> {
        match tokens.into_iter().find(|&token| token as usize >= self.len()) {
            None => Ok(()),
            Some(token) => Err(ModelError::invalid(
                param,
                format!("token {token} is outside this model's vocabulary of {} tokens", self.len()),
            )),
        }
    }
}

impl TokenTexts for TokenTable {
    fn text(&self, token: TokenId) -> &[u8] {
        match self.bytes(token) {
            [] => self.control.get(&token).map(|name| &**name).unwrap_or_default(),
            bytes => bytes,
        }
    }
}

/// Text to tokens and back.
#[derive(Debug, Clone)]
pub(super) struct Vocabulary {
    model: Arc<LlamaModel>,
    table: Arc<TokenTable>,
}

impl Vocabulary {
    pub(super) fn new(model: Arc<LlamaModel>) -> Self {
        let vocab = model.vocab();
        let tokens = vocab.tokens().map(|token| (vocab.token_to_piece(token, false, None), vocab.is_eog(token)));
        let control = vocab.tokens().filter(|&token| vocab.attr(token).contains(LlamaTokenAttr::Control));
        let control = control.filter_map(|token| {
            Some((TokenId::try_from(token.0).ok()?, vocab.text(token)?.to_bytes().to_owned().into_boxed_slice()))
        });
        let table = Arc::new(TokenTable::new(tokens).with_control(control));
        Self { model, table }
    }

    pub(super) fn table(&self) -> &Arc<TokenTable> {
        &self.table
    }

    /// The texts that the tokenizer turns into control tokens when special tokens are on.
    ///
    /// Asked from the loaded model, not the file: llama.cpp corrects the kinds of well-known tokens. What the file calls
    /// user-defined is ordinary text that happens to be one token, with special tokens on or off.
    pub(super) fn special_tokens(&self) -> Vec<String> {
        let vocab = self.model.vocab();
        let special = vocab.tokens().filter(|&token| {
            let attributes = vocab.attr(token);
            attributes.contains(LlamaTokenAttr::Control) || attributes.contains(LlamaTokenAttr::Unknown)
        });
        special.filter_map(|token| Some(vocab.text(token)?.to_str().ok()?.to_owned())).collect()
    }

    /// Those of these texts that are control tokens, with the token of each.
    pub(super) fn control_tokens(&self, texts: &[&str]) -> Vec<(String, TokenId)> {
        let mut options = TokenizeOptions::default();
        options.parse_special = true;
        let found = texts.iter().filter_map(|&text| match self.tokenize(text, options)[..] {
            [token] if self.table.bytes(token).is_empty() => Some((text.to_owned(), token)),
            _ => None,
        });
        found.collect()
    }

    /// The text of the token that begins, or ends, a text; empty if the model has none.
    pub(super) fn text_of_bos_and_eos(&self) -> (String, String) {
        let vocab = self.model.vocab();
        let text = |token: LlamaToken| {
            if token.0 < 0 {
                return String::new();
            }
            vocab.text(token).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
        };
        (text(vocab.bos()), text(vocab.eos()))
    }

    /// The token that must begin every prompt, if the model wants one.
    pub(super) fn bos_wanted(&self) -> Option<TokenId> {
        let vocab = self.model.vocab();
        vocab.should_add_bos().then(|| TokenId::try_from(vocab.bos().0).ok()).flatten()
    }

    /// Splits text into tokens.
    pub(super) fn tokenize(&self, text: &str, options: TokenizeOptions) -> Vec<TokenId> {
        let tokens = self.model.vocab().tokenize(text.as_bytes(), options.add_special, options.parse_special);
        tokens.into_iter().filter_map(|token| TokenId::try_from(token.0).ok()).collect()
    }

    /// The text of tokens, special ones left out.
    pub(super) fn detokenize(&self, tokens: &[TokenId]) -> Result<String, ModelError> {
        self.table.check("tokens", tokens.iter().copied())?;
        let tokens: Vec<LlamaToken> = tokens.iter().map(|&token| LlamaToken(token as i32)).collect();
        if tokens.is_empty() {
            return Ok(String::new());
        }
        let bytes = self.model.vocab().detokenize(&tokens, false, false);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_gives_each_token_its_own_bytes() {
        let table = TokenTable::new([(b"a".to_vec(), false), (vec![], true), (b"bc".to_vec(), false)]);
        assert_eq!((table.bytes(0), table.bytes(1), table.bytes(2)), (&b"a"[..], &b""[..], &b"bc"[..]));
        assert_eq!(table.bytes(3), b"");
        assert!(table.ends_generation(1) && !table.ends_generation(2) && !table.ends_generation(3));
    }

    #[test]
    fn only_the_very_same_tokens_are_the_same() {
        let table = |tokens: &[(&str, bool)]| {
            TokenTable::new(tokens.iter().map(|(text, end)| (text.as_bytes().to_vec(), *end)))
        };
        let one = table(&[("a", false), ("bc", true)]);
        assert!(one.is_same_as(&table(&[("a", false), ("bc", true)])));
        for other in [&[("ab", false), ("c", true)][..], &[("a", false), ("bc", false)], &[("a", false)]] {
            assert!(!one.is_same_as(&table(other)), "{other:?}");
        }
    }

    #[test]
    fn a_token_outside_the_vocabulary_is_named() {
        let table = TokenTable::new([(vec![], false)]);
        assert!(table.check("prompt", [0]).is_ok());
        let error = table.check("prompt", [0, 7]).unwrap_err().to_string();
        assert!(error.contains("prompt") && error.contains("token 7"), "{error}");
    }
}
