//! What a GGUF file says about its model, under the names of the format's documentation.

use super::{GgufArray, GgufHeader, GgufValue, vocabulary};
use crate::model::{Quantisation, TokenId};
use crate::weights::ggml_type::file_type_name;

impl GgufHeader {
    /// The architecture family: `llama`, `qwen2`, `bert`, …
    #[must_use]
    pub fn architecture(&self) -> Option<&str> {
        self.text("general.architecture")
    }

    /// What its makers call it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.text("general.name")
    }

    /// Longest context that it was trained for, in tokens.
    #[must_use]
    pub fn context_length(&self) -> Option<u64> {
        self.of_architecture("context_length")
    }

    /// Length of its hidden vectors.
    #[must_use]
    pub fn embedding_length(&self) -> Option<u64> {
        self.of_architecture("embedding_length")
    }

    /// Number of its layers.
    #[must_use]
    pub fn block_count(&self) -> Option<u64> {
        self.of_architecture("block_count")
    }

    /// The Jinja template that turns a conversation into a prompt. Not to be trusted.
    #[must_use]
    pub fn chat_template(&self) -> Option<&str> {
        self.text("tokenizer.chat_template")
    }

    /// The texts of its tokens, by token id; empty if the file has no vocabulary.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        match self.get(vocabulary::KEY) {
            Some(GgufValue::Array(GgufArray::Text(tokens))) => tokens,
            _ => &[],
        }
    }

    /// The types of its tokens, by token id (1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte).
    #[must_use]
    pub fn token_types(&self) -> &[i64] {
        match self.get("tokenizer.ggml.token_type") {
            Some(GgufValue::Array(GgufArray::Signed(types))) => types,
            _ => &[],
        }
    }

    /// The token that begins a text, if it is in the vocabulary.
    #[must_use]
    pub fn bos_id(&self) -> Option<TokenId> {
        self.token("tokenizer.ggml.bos_token_id")
    }

    /// The token that ends a text, if it is in the vocabulary.
    #[must_use]
    pub fn eos_id(&self) -> Option<TokenId> {
        self.token("tokenizer.ggml.eos_token_id")
    }

    /// The text of a token.
    #[must_use]
    pub fn token_text(&self, id: TokenId) -> Option<&str> {
        self.tokens().get(id as usize).map(String::as_str)
    }

    /// Number of weights in all tensors.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(super::GgufTensor::elements).fold(0, u64::saturating_add)
    }

    /// How the weights are stored: what the file says, or else the type that most bytes have.
    #[must_use]
    pub fn quantisation(&self) -> Quantisation {
        let named = self.get("general.file_type").and_then(GgufValue::as_u64).and_then(file_type_name);
        named.or_else(|| self.largest_type()).map_or(Quantisation::Unknown, |name| Quantisation::Named(name.to_owned()))
    }

    fn largest_type(&self) -> Option<&'static str> {
        let mut bytes: Vec<(&'static str, u64)> = Vec::new();
        for tensor in &self.tensors {
            match bytes.iter_mut().find(|(name, _)| *name == tensor.kind.name) {
                Some((_, sum)) => *sum = sum.saturating_add(tensor.bytes),
                None => bytes.push((tensor.kind.name, tensor.bytes)),
            }
        }
        bytes.into_iter().max_by_key(|(_, sum)| *sum).map(|(name, _)| name)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(GgufValue::as_str)
    }

    fn of_architecture(&self, key: &str) -> Option<u64> {
        self.get(&format!("{}.{key}", self.architecture()?)).and_then(GgufValue::as_u64)
    }

    fn token(&self, key: &str) -> Option<TokenId> {
        let id = TokenId::try_from(self.get(key)?.as_u64()?).ok()?;
        (id as usize).lt(&self.tokens().len()).then_some(id)
    }
}
