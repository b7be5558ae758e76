//! From texts to tokens and back, by the model's `tokenizer.json`.

use std::path::Path;

use llmo_core::ModelError;
use llmo_core::model::{TokenId, TokenizeOptions};
use tokenizers::Tokenizer;

use crate::candle::file;

/// A tokenizer that neither cuts nor pads: both are decided by whoever asks.
#[derive(Debug)]
pub(super) struct TextTokenizer {
    /// Reads `[SEP]` in a text as text.
    plain: Tokenizer,
    /// Reads it as the special token.
    special: Tokenizer,
}

impl TextTokenizer {
    /// Reads `tokenizer.json` in `folder`.
    ///
    /// # Errors
    /// [`ModelError::Corrupt`] if it is missing or damaged.
    pub(super) fn load(folder: &Path, model: &str) -> Result<Self, ModelError> {
        let path = folder.join("tokenizer.json");
        let corrupt = |reason: String| ModelError::Corrupt { model: model.to_owned(), reason };
        let bytes = std::fs::read(&path).map_err(|error| file::unreadable(&path, &error))?;
        let mut special = Tokenizer::from_bytes(bytes).map_err(|error| corrupt(format!("tokenizer.json: {error}")))?;
        // MiniLM's file says 128 tokens, padded to 128; its network was trained for 256.
        special.with_truncation(None).map_err(|error| corrupt(error.to_string()))?;
        special.with_padding(None);
        let mut plain = special.clone();
        plain.set_encode_special_tokens(true);
        Ok(Self { plain, special })
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.plain.get_vocab_size(true)
    }

    /// # Errors
    /// [`ModelError::Internal`] if the tokenizer gives up.
    pub(super) fn encode(&self, text: &str, options: TokenizeOptions) -> Result<Vec<TokenId>, ModelError> {
        let tokenizer = if options.parse_special { &self.special } else { &self.plain };
        let encoding = tokenizer.encode_fast(text, options.add_special);
        let encoding = encoding.map_err(|error| ModelError::Internal(format!("tokenizer: {error}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// # Errors
    /// [`ModelError::InvalidRequest`] for a token outside the vocabulary.
    pub(super) fn decode(&self, tokens: &[TokenId]) -> Result<String, ModelError> {
        let size = self.vocab_size();
        if let Some(token) = tokens.iter().find(|token| **token as usize >= size) {
            let message = format!("token {token} is outside the vocabulary of {size} tokens");
            return Err(ModelError::invalid("tokens", message));
        }
        self.plain.decode(tokens, true).map_err(|error| ModelError::Internal(format!("tokenizer: {error}")))
    }

    /// The tokens of a text, cut to `max` with its last token kept: `[SEP]` ends every text that BERT reads.
    pub(super) fn cut(mut tokens: Vec<TokenId>, max: usize) -> Vec<TokenId> {
        if tokens.len() > max
            && let Some(last) = tokens.last().copied()
        {
            tokens.truncate(max - 1);
            tokens.push(last);
        }
        tokens
    }
}
