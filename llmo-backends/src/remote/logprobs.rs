//! Log probabilities off the wire. Pure.
//!
//! Chat has `{"content": [{"token", "logprob", "bytes", "top_logprobs": […]}]}`, and llama-server has it for
//! completions too. OpenAI's completions have parallel lists: `{"tokens", "token_logprobs", "top_logprobs"}`. Token ids
//! are in neither; llama-server and llmo add them as `id`, and `token_ids` of the choice tells those that were chosen.

use std::collections::HashMap;

use llmo_core::model::{PromptToken, TokenId, TokenLogprob, TopLogprob};
use serde::Deserialize;

/// Stands for a token whose number the upstream does not tell: outside every vocabulary.
pub const UNKNOWN_TOKEN: TokenId = TokenId::MAX;

/// The field `logprobs` of a choice, in either form.
#[derive(Debug, Deserialize, Default)]
pub struct WireLogprobs {
    #[serde(default)]
    content: Option<Vec<Entry>>,
    #[serde(default)]
    tokens: Option<Vec<String>>,
    #[serde(default)]
    token_logprobs: Option<Vec<Option<f32>>>,
    #[serde(default)]
    top_logprobs: Option<Vec<Option<HashMap<String, f32>>>>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(alias = "token_id")]
    id: Option<TokenId>,
    #[serde(default)]
    token: String,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
    #[serde(default)]
    logprob: Option<f32>,
    #[serde(default)]
    top_logprobs: Vec<Entry>,
}

impl WireLogprobs {
    /// One entry a token; `token_ids` are those of the same choice, if it has any.
    #[must_use]
    pub fn read(self, token_ids: &[TokenId]) -> Vec<TokenLogprob> {
        let mut entries = match self.content {
            Some(content) => content.into_iter().map(Entry::read).collect(),
            None => parallel(
                self.tokens.unwrap_or_default(),
                self.token_logprobs.unwrap_or_default(),
                self.top_logprobs.unwrap_or_default(),
            ),
        };
        if entries.len() == token_ids.len() {
            for (entry, token) in entries.iter_mut().zip(token_ids) {
                entry.token = *token;
                if let Some(top) = entry.top.iter_mut().find(|top| top.bytes == entry.bytes) {
                    top.token = *token;
                }
            }
        }
        entries
    }
}

impl Entry {
    fn read(mut self) -> TokenLogprob {
        let top = std::mem::take(&mut self.top_logprobs).into_iter().map(Self::flat).collect();
        let TopLogprob { token, bytes, logprob } = self.flat();
        TokenLogprob { token, bytes, logprob, top }
    }

    fn flat(self) -> TopLogprob {
        TopLogprob {
            token: self.id.unwrap_or(UNKNOWN_TOKEN),
            bytes: self.bytes.unwrap_or_else(|| self.token.into_bytes()),
            logprob: finite(self.logprob),
        }
    }
}

/// A place of the prompt in vLLM's form: tokens by their numbers, the prompt's own among them; null at the first place.
pub type PromptPlace = Option<HashMap<TokenId, PromptAlternative>>;

/// A token at a place of the prompt.
#[derive(Debug, Deserialize)]
pub struct PromptAlternative {
    #[serde(default)]
    logprob: Option<f32>,
    #[serde(default)]
    rank: Option<u32>,
    #[serde(default)]
    decoded_token: Option<String>,
    /// llmo's extension: a part of a character is no text.
    #[serde(default)]
    bytes: Option<Vec<u8>>,
}

/// The prompt's tokens, if the upstream told both their numbers and their probabilities.
#[must_use]
pub fn prompt_tokens(tokens: Vec<TokenId>, places: Option<Vec<PromptPlace>>) -> Vec<PromptToken> {
    let places = places.unwrap_or_default();
    if places.len() != tokens.len() {
        return Vec::new();
    }
    tokens.into_iter().zip(places).map(|(token, place)| prompt_token(token, place.unwrap_or_default())).collect()
}

fn prompt_token(token: TokenId, mut place: HashMap<TokenId, PromptAlternative>) -> PromptToken {
    // The prompt's own token is an alternative too if it ranks among them; llmo gives it a rank only then.
    let places = place.len() as u32;
    let is_alternative = place.get(&token).and_then(|own| own.rank).is_some_and(|rank| rank <= places);
    let flat = |token, alternative: &PromptAlternative| TopLogprob {
        token,
        bytes: alternative
            .bytes
            .clone()
            .unwrap_or_else(|| alternative.decoded_token.clone().unwrap_or_default().into_bytes()),
        logprob: finite(alternative.logprob),
    };
    let own = place.get(&token).map(|own| flat(token, own));
    if !is_alternative {
        place.remove(&token);
    }
    let mut top: Vec<_> = place.iter().map(|(token, alternative)| flat(*token, alternative)).collect();
    top.sort_by(|a, b| b.logprob.total_cmp(&a.logprob).then(a.token.cmp(&b.token)));
    match own {
        Some(own) => PromptToken { token, bytes: own.bytes, logprob: Some(own.logprob), top },
        None => PromptToken { token, bytes: Vec::new(), logprob: None, top },
    }
}

fn parallel(
    tokens: Vec<String>,
    logprobs: Vec<Option<f32>>,
    tops: Vec<Option<HashMap<String, f32>>>,
) -> Vec<TokenLogprob> {
    let mut tops = tops.into_iter();
    let logprobs = logprobs.into_iter().chain(std::iter::repeat(None));
    let entry = |(token, logprob): (String, Option<f32>)| TokenLogprob {
        token: UNKNOWN_TOKEN,
        bytes: token_bytes(token),
        logprob: finite(logprob),
        top: ranked(tops.next().flatten().unwrap_or_default()),
    };
    tokens.into_iter().zip(logprobs).map(entry).collect()
}

/// A JSON object has no order; likelihood gives it back, the text breaks ties.
fn ranked(top: HashMap<String, f32>) -> Vec<TopLogprob> {
    let entry = |(token, logprob)| TopLogprob {
        token: UNKNOWN_TOKEN,
        bytes: token_bytes(token),
        logprob: finite(Some(logprob)),
    };
    let mut top: Vec<_> = top.into_iter().map(entry).collect();
    top.sort_by(|a, b| b.logprob.total_cmp(&a.logprob).then_with(|| a.bytes.cmp(&b.bytes)));
    top
}

/// OpenAI writes a token that is no text as `bytes:\xe2\x9c`.
fn token_bytes(token: String) -> Vec<u8> {
    let hex = token.strip_prefix("bytes:").map(|rest| rest.split("\\x").skip(1).map(|hex| u8::from_str_radix(hex, 16)));
    match hex.map(Iterator::collect::<Result<Vec<u8>, _>>) {
        Some(Ok(bytes)) if !bytes.is_empty() => bytes,
        _ => token.into_bytes(),
    }
}

/// JSON can't say minus infinity; upstreams write null, or -9999 as OpenAI does.
fn finite(logprob: Option<f32>) -> f32 {
    logprob.filter(|value| value.is_finite()).unwrap_or(-9999.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, ids: &[TokenId]) -> Vec<TokenLogprob> {
        serde_json::from_str::<WireLogprobs>(json).unwrap().read(ids)
    }

    #[test]
    fn the_form_of_chat_is_read() {
        let entries = read(
            r#"{"content":[{"token":"a","logprob":-0.5,"bytes":[97],
                "top_logprobs":[{"token":"a","logprob":-0.5,"bytes":[97]},{"id":9,"token":"b","logprob":null}]}]}"#,
            &[7],
        );
        assert_eq!(entries[0].token, 7);
        assert_eq!(entries[0].top[0].token, 7);
        assert_eq!((entries[0].top[1].token, entries[0].top[1].logprob), (9, -9999.0));
        assert_eq!(entries[0].top[1].bytes, b"b");
    }

    #[test]
    fn the_form_of_completions_is_read() {
        let entries = read(
            r#"{"tokens":["bytes:\\xc5"," b"],"token_logprobs":[-0.1,null],
                "top_logprobs":[{" x":-3.0,"bytes:\\xc5":-0.1},null],"text_offset":[0,1]}"#,
            &[],
        );
        assert_eq!(entries[0].bytes, [0xc5]);
        assert_eq!(entries[0].top[0].bytes, [0xc5]);
        assert_eq!(entries[0].top[1].bytes, b" x");
        assert_eq!((entries[1].token, entries[1].logprob), (UNKNOWN_TOKEN, -9999.0));
    }

    #[test]
    fn null_is_nothing() {
        assert_eq!(read(r#"{"content":null}"#, &[1]), []);
    }
}
