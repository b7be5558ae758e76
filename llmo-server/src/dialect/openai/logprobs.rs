//! Log probabilities, in chat's form and in that of completions.

use llmo_core::model::{PromptToken, TokenLogprob, TopLogprob};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Chat: one entry a token.
#[derive(Debug, Default, Serialize)]
pub(super) struct ChatLogprobs {
    content: Vec<Entry>,
    refusal: Option<()>,
}

/// A token, and those that might have come instead.
#[derive(Debug, Serialize)]
pub(in crate::dialect) struct Entry {
    #[serde(flatten)]
    token: Token,
    top_logprobs: Vec<Token>,
}

#[derive(Debug, Serialize)]
struct Token {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

impl Token {
    fn new(bytes: &[u8], logprob: f32) -> Self {
        Self { token: text(bytes), logprob: finite(logprob), bytes: bytes.to_vec() }
    }
}

pub(super) fn chat(entries: &[TokenLogprob]) -> ChatLogprobs {
    ChatLogprobs { content: list(entries), refusal: None }
}

/// One entry a token.
pub(in crate::dialect) fn list(entries: &[TokenLogprob]) -> Vec<Entry> {
    let entry = |e: &TokenLogprob| Entry {
        token: Token::new(&e.bytes, e.logprob),
        top_logprobs: e.top.iter().map(|top| Token::new(&top.bytes, top.logprob)).collect(),
    };
    entries.iter().map(entry).collect()
}

/// Completions: parallel arrays.
#[derive(Debug, Default, Serialize)]
pub(super) struct CompletionLogprobs {
    tokens: Vec<String>,
    /// Null for the first token of a prompt.
    token_logprobs: Vec<Option<f32>>,
    top_logprobs: Vec<Option<Map<String, Value>>>,
    text_offset: Vec<usize>,
}

/// A token of the output or of the prompt.
pub(super) trait Place {
    /// Its bytes, log probability, and the alternatives.
    fn parts(&self) -> (&[u8], Option<f32>, &[TopLogprob]);
}

impl Place for TokenLogprob {
    fn parts(&self) -> (&[u8], Option<f32>, &[TopLogprob]) {
        (&self.bytes, Some(self.logprob), &self.top)
    }
}

impl Place for PromptToken {
    fn parts(&self) -> (&[u8], Option<f32>, &[TopLogprob]) {
        (&self.bytes, self.logprob, &self.top)
    }
}

impl CompletionLogprobs {
    /// Appends tokens. `offset` is where the first begins, in characters of the whole text, and moves on.
    pub(super) fn append(&mut self, places: &[impl Place], offset: &mut usize) {
        for place in places {
            let (bytes, logprob, top) = place.parts();
            let token = text(bytes);
            self.text_offset.push(*offset);
            *offset += token.chars().count();
            self.tokens.push(token);
            self.token_logprobs.push(logprob.map(finite));
            let top = top.iter().map(|top| (text(&top.bytes), Value::from(finite(top.logprob))));
            self.top_logprobs.push(logprob.map(|_| top.collect()));
        }
    }
}

/// The prompt's tokens in vLLM's form: at each place an object of alternatives by token id, the prompt's own among them;
/// null at the first. A token has a rank if it is one of the likeliest that were asked for. `bytes` is ours.
pub(super) fn prompt(places: &[PromptToken]) -> Vec<Value> {
    let alternative = |bytes: &[u8], logprob: f32, rank: Option<usize>| json!({"logprob": finite(logprob), "rank": rank, "decoded_token": text(bytes), "bytes": bytes});
    let place = |entry: &PromptToken| {
        let Some(logprob) = entry.logprob else { return Value::Null };
        let mut alternatives = Map::new();
        alternatives.insert(entry.token.to_string(), alternative(&entry.bytes, logprob, None));
        for (rank, top) in (1..).zip(&entry.top) {
            alternatives.insert(top.token.to_string(), alternative(&top.bytes, top.logprob, Some(rank)));
        }
        Value::Object(alternatives)
    };
    places.iter().map(place).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// JSON has no infinities; OpenAI writes -9999 for what is impossible.
fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { -9999.0 }
}
