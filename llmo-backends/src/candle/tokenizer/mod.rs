//! llama.cpp's tokenizers in Rust, built from the vocabulary inside a GGUF file.
//!
//! ```text
//!  text ─► partition: special and user-defined tokens cut out
//!             │ text between them
//!             ├─► bpe: pre-tokenizer regex ─► byte alphabet ─► merges by rank      (llama 3, qwen, smollm, gpt-2)
//!             └─► spm: merges by score, bytes for what has no token               (llama 2, gemma)
//! ```
//!
//! Token ids agree with llama.cpp's on the same text, quirks included: a prompt cached, routed or continued by one
//! backend means the same to the other.

mod bpe;
mod byte_alphabet;
mod partition;
mod pre_tokenizer;
mod spm;
mod vocabulary;

use llmo_core::ModelError;
use llmo_core::model::{TokenId, TokenizeOptions};

use self::bpe::Bpe;
use self::partition::{Fragment, Partition};
use self::spm::Spm;
use self::vocabulary::Vocabulary;
use super::metadata::Metadata;
use crate::constraint::VocabularyToken;

/// Turns text into a model's tokens and back.
#[derive(Debug)]
pub(super) struct Tokenizer {
    vocabulary: Vocabulary,
    partition: Partition,
    algorithm: Algorithm,
    add_bos: bool,
    add_eos: bool,
}

#[derive(Debug)]
enum Algorithm {
    Bpe(Box<Bpe>),
    Spm(Spm),
}

impl Tokenizer {
    /// Builds the tokenizer a GGUF file describes.
    ///
    /// # Errors
    /// [`ModelError::Corrupt`] if the vocabulary contradicts itself, [`ModelError::Unsupported`] for a kind of
    /// tokenizer that is not BPE or SPM, or a pre-tokenizer nobody has described here.
    pub(super) fn from_metadata(metadata: Metadata<'_>) -> Result<Self, ModelError> {
        let kind = metadata.need("tokenizer.ggml.model", metadata.text("tokenizer.ggml.model"))?;
        let byte_level = match kind {
            "gpt2" => true,
            "llama" => false,
            other => return Err(metadata.unsupported(format!("tokenizer {other:?} on candle (gpt2 and llama work)"))),
        };
        let vocabulary = Vocabulary::read(metadata, byte_level)?;
        let (algorithm, adds_bos) = if byte_level {
            let rules = pre_tokenizer::rules(metadata.text("tokenizer.ggml.pre"))
                .map_err(|name| metadata.unsupported(format!("the pre-tokenizer {name:?} on candle")))?;
            (Algorithm::Bpe(Box::new(Bpe::build(metadata, &vocabulary, &rules)?)), rules.adds_bos)
        } else {
            (Algorithm::Spm(Spm::build(metadata, &vocabulary)?), true)
        };
        let flag = |key| metadata.flag(key);
        Ok(Self {
            partition: Partition::new(&vocabulary),
            algorithm,
            add_bos: flag("tokenizer.ggml.add_bos_token").unwrap_or(adds_bos) && vocabulary.bos.is_some(),
            add_eos: flag("tokenizer.ggml.add_eos_token").unwrap_or(false) && vocabulary.eos.is_some(),
            vocabulary,
        })
    }

    /// The tokens of `text`. Costs about a microsecond for four bytes.
    ///
    /// # Errors
    /// [`ModelError::Internal`] if the regular expression engine gives up.
    pub(super) fn encode(&self, text: &str, options: TokenizeOptions) -> Result<Vec<TokenId>, ModelError> {
        let mut tokens = Vec::with_capacity(text.len() / 3 + 2);
        if options.add_special && self.add_bos {
            tokens.extend(self.vocabulary.bos);
        }
        // SPM puts a space in front of text that follows no text: at the start and after every special token.
        let mut after_text = false;
        for fragment in self.partition.split(text, options.parse_special) {
            match (fragment, &self.algorithm) {
                (Fragment::Token(token), _) => tokens.push(token),
                (Fragment::Text(text), Algorithm::Bpe(bpe)) => bpe.encode(text, &mut tokens)?,
                (Fragment::Text(text), Algorithm::Spm(spm)) => {
                    spm.encode(text, !after_text, &self.vocabulary, &mut tokens);
                }
            }
            after_text = matches!(fragment, Fragment::Text(_));
        }
        if options.add_special && self.add_eos {
            tokens.extend(self.vocabulary.eos);
        }
        Ok(tokens)
    }

    /// What `token` adds to the output: nothing for control tokens and for tokens outside the vocabulary.
    pub(super) fn bytes(&self, token: TokenId) -> &[u8] {
        self.vocabulary.pieces.get(token as usize).map_or(&[], |piece| piece)
    }

    /// What `token` adds to the output, or what a control token is called; nothing outside the vocabulary.
    pub(super) fn text(&self, token: TokenId) -> &[u8] {
        match self.bytes(token) {
            [] => self.vocabulary.texts.get(token as usize).map(String::as_bytes).unwrap_or_default(),
            bytes => bytes,
        }
    }

    /// The text of `tokens`, with control tokens left out, and the space that [`encode`](Self::encode) puts in front. Broken characters become U+FFFD.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] for a token outside the vocabulary.
    pub(super) fn decode(&self, tokens: &[TokenId]) -> Result<String, ModelError> {
        let mut bytes = Vec::with_capacity(tokens.len() * 4);
        for &token in tokens {
            self.check(token, "tokens")?;
            bytes.extend_from_slice(self.bytes(token));
        }
        let invented = match &self.algorithm {
            Algorithm::Spm(spm) => spm.adds_space() && tokens.first().is_some_and(|t| self.bytes(*t).starts_with(b" ")),
            Algorithm::Bpe(_) => false,
        };
        if invented {
            bytes.remove(0);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// # Errors
    /// [`ModelError::InvalidRequest`] for a token outside the vocabulary; `param` is where it was found.
    pub(super) fn check(&self, token: TokenId, param: &str) -> Result<(), ModelError> {
        let size = self.vocab_size();
        if (token as usize) < size {
            return Ok(());
        }
        Err(ModelError::invalid(param, format!("token {token} is outside the vocabulary of {size} tokens")))
    }

    /// Does this token end the output?
    pub(super) fn is_end(&self, token: TokenId) -> bool {
        self.vocabulary.ends.contains(&token)
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.vocabulary.texts.len()
    }

    /// Those of these texts that are special tokens without a text of their own in the output.
    pub(super) fn control_tokens(&self, texts: &[&str]) -> Result<Vec<(String, TokenId)>, ModelError> {
        let mut options = TokenizeOptions::default();
        options.parse_special = true;
        let mut found = Vec::new();
        for &text in texts {
            if let [token] = self.encode(text, options)?[..]
                && self.bytes(token).is_empty()
            {
                found.push((text.to_owned(), token));
            }
        }
        Ok(found)
    }

    /// The vocabulary, for grammars.
    pub(super) fn grammar_tokens(&self) -> Vec<VocabularyToken> {
        let token = |id| VocabularyToken { bytes: self.bytes(id).to_vec(), is_end: self.is_end(id) };
        (0..self.vocab_size() as TokenId).map(token).collect()
    }

    /// Texts that become special tokens when `parse_special` is set: what must be kept out of users' text.
    pub(super) fn special_texts(&self) -> Vec<String> {
        self.partition.texts().map(str::to_owned).collect()
    }

    /// The token that every prompt must begin with, if the model wants one.
    pub(super) fn wanted_bos(&self) -> Option<TokenId> {
        self.vocabulary.bos.filter(|_| self.add_bos)
    }

    /// The texts of the first and the last token of a document, for chat templates; empty where there is none.
    pub(super) fn bos_and_eos(&self) -> (&str, &str) {
        let text = |token: Option<TokenId>| token.map_or("", |token| self.vocabulary.texts[token as usize].as_str());
        (text(self.vocabulary.bos), text(self.vocabulary.eos))
    }
}
