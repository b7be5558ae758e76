//! SentencePiece as llama.cpp does it: neighbours are merged in the order of the merged token's score, highest first,
//! and characters without a token become byte tokens.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use llmo_core::ModelError;
use llmo_core::model::TokenId;

use super::vocabulary::Vocabulary;
use crate::candle::metadata::Metadata;

#[derive(Debug)]
pub(super) struct Spm {
    scores: Vec<f32>,
    /// The token of each byte; `None` in vocabularies that are damaged.
    bytes: Vec<Option<TokenId>>,
    /// Text that follows no other text is given a space in front.
    adds_space: bool,
}

impl Spm {
    pub(super) fn build(metadata: Metadata<'_>, vocabulary: &Vocabulary) -> Result<Self, ModelError> {
        let key = "tokenizer.ggml.scores";
        let scores = metadata.need(key, metadata.numbers(key))?;
        if scores.len() < vocabulary.texts.len() {
            return Err(metadata.corrupt(format!("{key} is shorter than the vocabulary")));
        }
        let byte = |byte: u8| {
            let ascii = byte.is_ascii().then(|| char::from(byte).to_string());
            let id = |text: &String| vocabulary.ids.get(text).copied();
            id(&format!("<0x{byte:02X}>")).or_else(|| ascii.as_ref().and_then(id))
        };
        Ok(Self {
            scores,
            bytes: (0..=255).map(byte).collect(),
            adds_space: metadata.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true),
        })
    }

    pub(super) fn adds_space(&self) -> bool {
        self.adds_space
    }

    /// Appends the tokens of `text`; `starts` if no text stands directly before it.
    pub(super) fn encode(&self, text: &str, starts: bool, vocabulary: &Vocabulary, tokens: &mut Vec<TokenId>) {
        let space = if starts && self.adds_space { "▁" } else { "" };
        let text = [space, &text.replace(' ', "▁")].concat();
        let mut merging = Merging::new(&text, self, vocabulary);
        merging.run();
        let mut next = (!merging.symbols.is_empty()).then_some(0);
        while let Some(at) = next {
            merging.emit(at, tokens);
            next = merging.symbols[at].next;
        }
    }
}

/// A piece of the text: at first a character, later what merging made of it.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    /// 0 once merged into its neighbour to the left.
    len: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Two neighbours that could be merged. The greatest is merged first.
#[derive(Debug, PartialEq)]
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    /// Of both together; differs from what the symbols have by then if either was merged otherwise.
    len: usize,
}

impl Eq for Pair {}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

struct Merging<'a> {
    text: &'a str,
    spm: &'a Spm,
    vocabulary: &'a Vocabulary,
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Pair>,
}

impl<'a> Merging<'a> {
    fn new(text: &'a str, spm: &'a Spm, vocabulary: &'a Vocabulary) -> Self {
        let mut symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(i, (start, character))| Symbol {
                start,
                len: character.len_utf8(),
                previous: i.checked_sub(1),
                next: Some(i + 1),
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.next = None;
        }
        Self { text, spm, vocabulary, symbols, queue: BinaryHeap::new() }
    }

    fn run(&mut self) {
        for right in 1..self.symbols.len() {
            self.consider(Some(right - 1), Some(right));
        }
        while let Some(pair) = self.queue.pop() {
            let (left, right) = (self.symbols[pair.left], self.symbols[pair.right]);
            if left.len == 0 || right.len == 0 || left.len + right.len != pair.len {
                continue;
            }
            self.symbols[pair.left].len = pair.len;
            self.symbols[pair.left].next = right.next;
            self.symbols[pair.right].len = 0;
            if let Some(next) = right.next {
                self.symbols[next].previous = Some(pair.left);
            }
            self.consider(left.previous, Some(pair.left));
            self.consider(Some(pair.left), right.next);
        }
    }

    fn consider(&mut self, left: Option<usize>, right: Option<usize>) {
        let (Some(left), Some(right)) = (left, right) else { return };
        let (start, len) = (self.symbols[left].start, self.symbols[left].len + self.symbols[right].len);
        let text = &self.text[start..start + len];
        if let Some(&token) = self.vocabulary.ids.get(text) {
            self.queue.push(Pair { score: self.spm.scores[token as usize], left, right, len });
        }
    }

    /// Appends the token of a symbol, or the tokens of its bytes: a character may have none, a merged text always has one.
    fn emit(&self, at: usize, tokens: &mut Vec<TokenId>) {
        let symbol = self.symbols[at];
        let text = &self.text[symbol.start..symbol.start + symbol.len];
        if let Some(&token) = self.vocabulary.ids.get(text) {
            tokens.push(token);
        } else {
            tokens.extend(text.bytes().filter_map(|byte| self.spm.bytes[usize::from(byte)]));
        }
    }
}
