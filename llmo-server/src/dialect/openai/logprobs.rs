//! Log probabilities, in chat's form and in that of completions.

use llmo_core::model::TokenLogprob;
use serde::Serialize;
use serde_json::{Map, Value};

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
    token_logprobs: Vec<f32>,
    top_logprobs: Vec<Map<String, Value>>,
    text_offset: Vec<usize>,
}

/// `offset` is where the first token begins, in characters of the whole text, and moves on.
pub(super) fn completion(entries: &[TokenLogprob], offset: &mut usize) -> CompletionLogprobs {
    let mut out = CompletionLogprobs::default();
    for entry in entries {
        let token = text(&entry.bytes);
        out.text_offset.push(*offset);
        *offset += token.chars().count();
        out.tokens.push(token);
        out.token_logprobs.push(finite(entry.logprob));
        let top = entry.top.iter().map(|top| (text(&top.bytes), Value::from(finite(top.logprob))));
        out.top_logprobs.push(top.collect());
    }
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// JSON has no infinities; OpenAI writes -9999 for what is impossible.
fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { -9999.0 }
}
