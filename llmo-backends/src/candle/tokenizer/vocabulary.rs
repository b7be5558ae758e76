//! The tokens of a model, what kind each is and what each stands for.

use std::collections::{HashMap, HashSet};

use llmo_core::ModelError;
use llmo_core::model::TokenId;

use super::byte_alphabet;
use crate::candle::metadata::Metadata;

/// Texts of tokens that end the output whatever the metadata says: llama.cpp's list, so that both backends stop at the
/// same token.
const END_TEXTS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<｜end▁of▁sentence｜>",
    // Fill-in-the-middle: padding, repository and file borders.
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
];

/// Texts of tokens that are control tokens whatever the metadata says: marks for filling in the middle.
const CONTROL_TEXTS: &[&str] = &[
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<PRE>",
    "▁<PRE>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<SUF>",
    "▁<SUF>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<MID>",
    "▁<MID>",
];

/// Metadata entries that name a token which ends the output.
const END_KEYS: &[&str] = &[
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.fim_pad_token_id",
    "tokenizer.ggml.fim_rep_token_id",
    "tokenizer.ggml.fim_sep_token_id",
];

/// GGUF's `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl Kind {
    fn from_gguf(value: i64) -> Self {
        match value {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            6 => Self::Byte,
            _ => Self::Unused,
        }
    }
}

/// All tokens; the index is the token id.
#[derive(Debug)]
pub(super) struct Vocabulary {
    /// As the file spells them: in the byte alphabet, or with `▁` for a space.
    pub(super) texts: Vec<String>,
    pub(super) kinds: Vec<Kind>,
    /// What each token adds to the output; nothing for control tokens.
    pub(super) pieces: Vec<Box<[u8]>>,
    pub(super) ids: HashMap<String, TokenId>,
    pub(super) bos: Option<TokenId>,
    pub(super) eos: Option<TokenId>,
    /// Tokens that end the output.
    pub(super) ends: HashSet<TokenId>,
}

impl Vocabulary {
    pub(super) fn read(metadata: Metadata<'_>, byte_level: bool) -> Result<Self, ModelError> {
        let key = "tokenizer.ggml.tokens";
        let texts: Vec<String> = metadata.need(key, metadata.texts(key))?.iter().enumerate().map(named).collect();
        if texts.is_empty() {
            return Err(metadata.corrupt("the vocabulary is empty"));
        }
        let ids: HashMap<String, TokenId> =
            texts.iter().enumerate().map(|(id, text)| (text.clone(), id as TokenId)).collect();
        let mut kinds: Vec<Kind> = match metadata.header().token_types() {
            [] => vec![Kind::Normal; texts.len()],
            kinds if kinds.len() < texts.len() => {
                return Err(metadata.corrupt("tokenizer.ggml.token_type is shorter than the vocabulary"));
            }
            kinds => kinds[..texts.len()].iter().map(|kind| Kind::from_gguf(*kind)).collect(),
        };

        let id = |key: &str| {
            metadata.count(key).filter(|id| *id < texts.len() as u64).and_then(|id| TokenId::try_from(id).ok())
        };
        // SPM models of the first generation name neither.
        let default = |id: TokenId| Some(id).filter(|id| !byte_level && (*id as usize) < texts.len());
        let bos = id("tokenizer.ggml.bos_token_id").or(default(1));
        let eos = id("tokenizer.ggml.eos_token_id").or(default(2));
        let mut ends: HashSet<TokenId> = END_KEYS.iter().filter_map(|key| id(key)).chain(eos).collect();
        for end in END_TEXTS.iter().filter_map(|text| ids.get(*text)) {
            // Some files call them normal text; shown, they would appear at the end of every answer.
            kinds[*end as usize] = Kind::Control;
            ends.insert(*end);
        }
        for control in CONTROL_TEXTS.iter().filter_map(|text| ids.get(*text)) {
            kinds[*control as usize] = Kind::Control;
        }
        let pieces = texts.iter().zip(&kinds).map(|(text, kind)| piece(text, *kind, byte_level)).collect();
        Ok(Self { texts, kinds, pieces, ids, bos, eos, ends })
    }
}

/// An empty entry gets a name, as in llama.cpp: found as text it would match everywhere.
fn named((id, text): (usize, &String)) -> String {
    if text.is_empty() { format!("[EMPTY_{id}]") } else { text.clone() }
}

fn piece(text: &str, kind: Kind, byte_level: bool) -> Box<[u8]> {
    match kind {
        Kind::Control | Kind::Unknown | Kind::Unused => Box::default(),
        Kind::UserDefined => text.as_bytes().into(),
        Kind::Byte => byte(text).map_or_else(Box::default, |byte| Box::new([byte])),
        Kind::Normal if byte_level => byte_alphabet::decode(text).into(),
        Kind::Normal => text.replace('▁', " ").into_bytes().into(),
    }
}

/// The byte of a token such as `<0x0A>`.
fn byte(text: &str) -> Option<u8> {
    u8::from_str_radix(text.strip_prefix("<0x")?.strip_suffix('>')?, 16).ok()
}
