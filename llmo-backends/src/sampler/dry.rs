//! DRY, "don't repeat yourself" (p-e-w, text-generation-webui #5677), as llama.cpp has it.
//!
//! If the last `n` tokens stood somewhere before, the token that followed them there loses
//! `multiplier · base^(n - allowed_length)`. Sequence breakers are looked for in the text itself, wherever tokens begin
//! and end: a repetition never reaches back past the token in which the last breaker ends, and a token that holds a
//! breaker is never penalised. (llama.cpp looks for the tokens that its tokenizer would make of a breaker; for breakers
//! within one token, as the usual ones are, that is the same.)

use std::collections::HashMap;
use std::sync::Arc;

use llmo_core::model::{DryParams, TokenId};

use super::TokenTexts;

/// The tokens of a sequence and where repetitions may begin.
#[derive(Debug, Clone)]
pub(super) struct Dry {
    params: DryParams,
    texts: Arc<dyn TokenTexts>,
    tokens: Vec<TokenId>,
    /// The end of the text, long enough to see the beginning of any breaker.
    tail: Vec<u8>,
    /// Tokens after the one in which the last breaker ended; all of them if there was none.
    since_breaker: usize,
    /// Largest exponent that keeps the penalty finite.
    max_exponent: u32,
    /// Scratch: how many tokens before each place are those at the end.
    repeats: Vec<usize>,
    /// Scratch: the longest repetition that a token would continue.
    longest: HashMap<TokenId, usize>,
}

impl Dry {
    pub(super) fn new(params: DryParams, texts: Arc<dyn TokenTexts>) -> Self {
        let log_base = params.base.ln();
        let max_exponent = if params.base > 1.000_001 { (f32::MAX.ln() / log_base) as u32 } else { u32::MAX };
        Self {
            params,
            texts,
            tokens: Vec::new(),
            tail: Vec::new(),
            since_breaker: 0,
            max_exponent,
            repeats: Vec::new(),
            longest: HashMap::new(),
        }
    }

    /// Appends a token.
    pub(super) fn push(&mut self, token: TokenId) {
        self.tokens.push(token);
        let text = self.texts.text(token);
        let before = self.tail.len();
        self.tail.extend_from_slice(text);
        let ends_here = |breaker: &String| {
            let first = (before + 1).saturating_sub(breaker.len());
            let found = self.tail[first..].windows(breaker.len()).any(|part| part == breaker.as_bytes());
            found && !text.is_empty()
        };
        let breaks = self.params.sequence_breakers.iter().any(ends_here);
        self.since_breaker = if breaks { 0 } else { self.since_breaker + 1 };
        let longest = self.params.sequence_breakers.iter().map(String::len).max().unwrap_or(1);
        self.tail.drain(..self.tail.len().saturating_sub(longest - 1));
    }

    pub(super) fn apply(&mut self, logits: &mut [f32]) {
        self.find();
        for (&token, &length) in &self.longest {
            let Some(logit) = logits.get_mut(token as usize) else { continue };
            if self.breaks(token) {
                continue;
            }
            let exponent = (length as u32 - self.params.allowed_length).min(self.max_exponent);
            let growth = f64::from(self.params.base).powi(i32::try_from(exponent).unwrap_or(i32::MAX));
            *logit -= (f64::from(self.params.multiplier) * growth) as f32;
        }
    }

    /// Fills `longest`. Linear in the length of the window.
    fn find(&mut self) {
        self.longest.clear();
        let window = match self.params.window as usize {
            0 => self.tokens.len(),
            window => window.min(self.tokens.len()),
        };
        let allowed = self.params.allowed_length as usize;
        let limit = self.since_breaker.min(window);
        if window <= allowed || limit < allowed {
            return;
        }
        let tokens = &self.tokens[self.tokens.len() - window..];
        // Backwards from the end: how long the same tokens stand before each place.
        let back = |i: usize| tokens[window - 1 - i];
        common_beginnings(window, back, &mut self.repeats);
        for place in 1..window {
            let length = self.repeats[place].min(limit);
            if length >= allowed {
                let longest = self.longest.entry(back(place - 1)).or_default();
                *longest = length.max(*longest);
            }
        }
    }

    fn breaks(&self, token: TokenId) -> bool {
        let text = self.texts.text(token);
        let holds = |breaker: &String| text.windows(breaker.len()).any(|part| part == breaker.as_bytes());
        self.params.sequence_breakers.iter().any(holds)
    }
}

/// The Z-algorithm: for each place of a sequence of `length` items, how many items from there on equal those from the
/// start on. Nothing is said of place 0.
fn common_beginnings(length: usize, item: impl Fn(usize) -> TokenId, out: &mut Vec<usize>) {
    out.clear();
    out.resize(length, 0);
    // The stretch `left..right` is known to equal the beginning.
    let (mut left, mut right) = (0, 0);
    for place in 1..length {
        let mut common = if place < right { out[place - left].min(right - place) } else { 0 };
        while place + common < length && item(common) == item(place + common) {
            common += 1;
        }
        out[place] = common;
        if place + common > right {
            (left, right) = (place, place + common);
        }
    }
}
