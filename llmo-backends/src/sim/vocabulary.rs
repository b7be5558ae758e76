//! Tokens of the simulator: a lossless byte tokenizer, and the numbered words that answers are made of.
//!
//! | ids | token |
//! |---|---|
//! | 0 to 255 | one byte of text |
//! | 256 to 262 | control tokens: begin, end of text, the four roles, end of message |
//! | from 263 | word n of stream s: `263 + s * WORDS + n` |
//!
//! A *stream* is a number that hangs on the prompt's tokens, and on the seed if the request samples. Word n of an
//! answer to that prompt is word n of that stream. So a word says by itself which answer it belongs to and where, and
//! a prompt of tokens that ends in word n of a stream is continued with word n + 1 of the same: an answer broken
//! anywhere and resumed from its prompt and the tokens sent is the answer unbroken.

use llmo_core::model::{Message, ModelError, Result, Role, TokenId, TokenizeOptions};

use super::options::SimText;

/// Number of streams.
pub const STREAMS: u32 = 4096;
/// Words of each stream; an answer longer than this starts over with word 0.
pub const WORDS: u32 = 4096;
/// Number of tokens.
pub const VOCAB_SIZE: u32 = FIRST_WORD + STREAMS * WORDS;

/// Begins every chat, and every text that asks for it.
pub const BEGIN: TokenId = 256;
/// Ends an answer.
pub const END_OF_TEXT: TokenId = 257;
const SYSTEM: TokenId = 258;
const USER: TokenId = 259;
const ASSISTANT: TokenId = 260;
const TOOL: TokenId = 261;
const END_OF_MESSAGE: TokenId = 262;
const FIRST_WORD: TokenId = 263;

/// How control tokens are spelled where markers are read.
const MARKERS: [(&str, TokenId); 7] = [
    ("<|begin|>", BEGIN),
    ("<|end|>", END_OF_TEXT),
    ("<|system|>", SYSTEM),
    ("<|user|>", USER),
    ("<|assistant|>", ASSISTANT),
    ("<|tool|>", TOOL),
    ("<|eom|>", END_OF_MESSAGE),
];

/// A word: its stream and its place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// The stream, below [`STREAMS`].
    pub stream: u32,
    /// The place, below [`WORDS`].
    pub place: u32,
}

impl Word {
    /// Reads a token as a word.
    #[must_use]
    pub fn of(token: TokenId) -> Option<Self> {
        let index = token.checked_sub(FIRST_WORD).filter(|_| token < VOCAB_SIZE)?;
        Some(Self { stream: index / WORDS, place: index % WORDS })
    }

    /// The token of this word.
    #[must_use]
    pub fn token(self) -> TokenId {
        FIRST_WORD + self.stream % STREAMS * WORDS + self.place % WORDS
    }

    /// The word after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self { place: (self.place + 1) % WORDS, ..self }
    }
}

/// The bytes of a token; none for control tokens.
///
/// # Errors
/// [`ModelError::InvalidRequest`] for a token outside the vocabulary.
pub fn bytes(token: TokenId, text: SimText) -> Result<Vec<u8>> {
    if let Ok(byte) = u8::try_from(token) {
        return Ok(vec![byte]);
    }
    if token >= VOCAB_SIZE {
        return Err(outside("tokens", token));
    }
    Ok(Word::of(token).map_or_else(Vec::new, |Word { stream, place }| match text {
        SimText::Numbered => format!("t{place} ").into_bytes(),
        SimText::Tagged => format!("{stream:03x}.{place} ").into_bytes(),
        SimText::SplitCharacters => vec!["ż".as_bytes()[place as usize % 2]],
    }))
}

/// The error for a token that doesn't exist.
#[must_use]
pub fn outside(param: &str, token: TokenId) -> ModelError {
    ModelError::invalid(param, format!("token {token} is outside the vocabulary of {VOCAB_SIZE} tokens"))
}

/// One token a byte; markers only where asked for.
#[must_use]
pub fn tokenize(text: &str, options: TokenizeOptions) -> Vec<TokenId> {
    let mut tokens: Vec<TokenId> = options.add_special.then_some(BEGIN).into_iter().collect();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let marker = MARKERS.iter().find(|(marker, _)| options.parse_special && rest.starts_with(marker.as_bytes()));
        match marker {
            Some(&(marker, token)) => {
                tokens.push(token);
                rest = &rest[marker.len()..];
            }
            None => {
                tokens.push(TokenId::from(first));
                rest = tail;
            }
        }
    }
    tokens
}

/// A conversation as tokens, ready for the assistant's answer.
#[must_use]
pub fn tokenize_chat(messages: &[Message]) -> Vec<TokenId> {
    let mut tokens = vec![BEGIN];
    for message in messages {
        tokens.push(match message.role {
            Role::System => SYSTEM,
            Role::Assistant => ASSISTANT,
            Role::Tool => TOOL,
            _ => USER,
        });
        tokens.extend(message.content.bytes().map(TokenId::from));
        tokens.push(END_OF_MESSAGE);
    }
    tokens.push(ASSISTANT);
    tokens
}

/// The stream that answers a prompt: FNV-1a over its tokens and the seed, so that it is the same on every machine.
#[must_use]
pub fn stream_of(prompt: &[TokenId], seed: u64) -> u32 {
    let bytes = prompt.iter().flat_map(|token| token.to_le_bytes()).chain(seed.to_le_bytes());
    let hash = fnv1a(bytes);
    // The low bits of FNV are its weakest: fold the high ones in.
    ((hash ^ (hash >> 32)) % u64::from(STREAMS)) as u32
}

/// FNV-1a, 64 bits.
pub(super) fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_survives_its_token() {
        for word in [Word { stream: 0, place: 0 }, Word { stream: 4095, place: 4095 }, Word { stream: 17, place: 3 }] {
            assert_eq!(Word::of(word.token()), Some(word));
        }
        assert_eq!(Word::of(FIRST_WORD - 1), None);
        assert_eq!(Word::of(VOCAB_SIZE), None);
        assert_eq!(Word { stream: 5, place: WORDS - 1 }.next(), Word { stream: 5, place: 0 });
    }

    #[test]
    fn markers_are_text_unless_asked_for() {
        let plain = tokenize("<|end|>", TokenizeOptions::default());
        assert_eq!(plain.len(), 7);
        let mut options = TokenizeOptions::with_special();
        options.parse_special = true;
        assert_eq!(tokenize("<|end|>a", options), [BEGIN, END_OF_TEXT, u32::from(b'a')]);
    }

    #[test]
    fn every_token_has_bytes_or_is_refused() {
        assert_eq!(bytes(Word { stream: 0x3fa, place: 12 }.token(), SimText::Tagged).unwrap(), b"3fa.12 ");
        assert_eq!(bytes(END_OF_TEXT, SimText::Numbered).unwrap(), b"");
        assert!(bytes(VOCAB_SIZE, SimText::Numbered).is_err());
    }
}
