//! From the events of an upstream's stream to ours. Pure.

use std::fmt;
use std::time::Duration;

use llmo_core::model::{Delta, Finish, FinishReason, ModelError, Result, Timings, TokenId, Usage};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::errors::WireError;
use super::logprobs::{PromptPlace, WireLogprobs, prompt_tokens};
use super::sse::{EventRef, SseEvent};
use super::tools::{self, WireCall};

/// Reads one answer, event by event.
///
/// Token counts come from the upstream's `usage`. If it sends none, the generated tokens are counted where their ids
/// came with them, and everything else stays 0: nothing is estimated.
#[derive(Debug)]
pub struct Reader {
    model: String,
    started: bool,
    /// The first output must tell of the prompt.
    expects_prompt: bool,
    tokens: u64,
    reason: Option<FinishReason>,
    stop: Option<String>,
    usage: Option<Usage>,
    timings: Timings,
}

/// What an event meant.
#[derive(Debug, PartialEq)]
pub enum Read {
    /// Nothing for the caller.
    Nothing,
    /// More output.
    Delta(Delta),
    /// Nothing follows; ask for the [finish](Reader::finish).
    Done,
}

impl Reader {
    /// At the beginning of an answer of `model`.
    #[must_use]
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            started: false,
            expects_prompt: false,
            tokens: 0,
            reason: None,
            stop: None,
            usage: None,
            timings: Timings::default(),
        }
    }

    /// Log probabilities of the prompt were asked for: an answer without them is an error.
    #[must_use]
    pub fn expecting_prompt(mut self, expects: bool) -> Self {
        self.expects_prompt = expects;
        self
    }

    /// Has output come?
    #[must_use]
    pub fn started(&self) -> bool {
        self.started
    }

    /// Reads the next event of a stream.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn event(&mut self, event: &SseEvent) -> Result<Read> {
        self.read(&event.by_ref())
    }

    /// Reads the next event of a stream.
    ///
    /// # Errors
    /// The upstream's own error; [`ModelError::Upstream`] for what can't be understood.
    pub fn read(&mut self, event: &EventRef<'_>) -> Result<Read> {
        if event.data == "[DONE]" {
            return Ok(Read::Done);
        }
        if event.event == "error" {
            let error = WireError::from_event(&event.data);
            return Err(error.into_error(&self.model, self.started));
        }
        // Of text it is known that it is UTF-8.
        self.parsed(serde_json::from_str(&event.data), event.data.as_bytes())
    }

    /// Reads a chunk, or an answer that came whole.
    ///
    /// # Errors
    /// As for [`event`](Self::event).
    pub fn json(&mut self, data: &[u8]) -> Result<Read> {
        self.parsed(serde_json::from_slice(data), data)
    }

    fn parsed(&mut self, chunk: serde_json::Result<Chunk>, data: &[u8]) -> Result<Read> {
        let chunk = match chunk {
            Ok(chunk) if chunk.is_output() => chunk,
            // An error in one of its many forms, or nothing that we know.
            _ => self.strange(data)?,
        };
        match self.chunk(chunk) {
            Read::Delta(delta) if self.expects_prompt && delta.prompt.is_empty() => Err(ModelError::Unsupported {
                model: self.model.clone(),
                what: "log probabilities of the prompt: its upstream told none".into(),
            }),
            read => {
                self.expects_prompt &= !matches!(read, Read::Delta(_));
                Ok(read)
            }
        }
    }

    fn strange(&self, data: &[u8]) -> Result<Chunk> {
        let value: Value = serde_json::from_slice(data).map_err(|e| self.broken(&format!("it sent no JSON: {e}")))?;
        if let Some(error) = WireError::from_json(&value) {
            return Err(error.into_error(&self.model, self.started));
        }
        serde_json::from_value(value).map_err(|e| self.broken(&format!("it sent a strange chunk: {e}")))
    }

    fn chunk(&mut self, chunk: Chunk) -> Read {
        if let Some(usage) = chunk.usage {
            self.usage = Some(usage.read());
        }
        if let Some(llmo) = chunk.llmo {
            self.timings = llmo.timings.read();
            self.stop = llmo.stop.or(self.stop.take());
        }
        let Some(choice) = chunk.choices.first else { return Read::Nothing };
        if let Some(Reason(reason)) = choice.finish_reason {
            self.reason = Some(reason);
        }
        if let Some(Value::String(stop)) = choice.stop_reason {
            self.stop.get_or_insert(stop);
        }
        let tokens = choice.token_ids.unwrap_or_default();
        let mut said = choice.delta.or(choice.message).unwrap_or_default();
        let mut delta = Delta::new(choice.text.or(said.content.take()).unwrap_or_default(), tokens);
        delta.tool_calls = tools::read(said.tool_calls.unwrap_or_default());
        delta.logprobs = choice.logprobs.unwrap_or_default().read(&delta.tokens);
        delta.prompt = prompt_tokens(choice.prompt_token_ids.unwrap_or_default(), choice.prompt_logprobs);
        delta.mirostat_mu = choice.mirostat_mu;
        if delta.is_empty() {
            return Read::Nothing;
        }
        self.started = true;
        self.tokens += delta.tokens.len() as u64;
        Read::Delta(delta)
    }

    /// The stream has ended: with a finish, if the upstream gave its reason.
    ///
    /// # Errors
    /// [`ModelError::Upstream`] if it did not.
    pub fn finish(&self) -> Result<Finish> {
        let reason = self.reason.ok_or_else(|| self.broken("the stream ended before the answer was finished"))?;
        let usage = self.usage.unwrap_or_else(|| Usage::new(0, self.tokens));
        let mut finish = Finish::new(reason, usage);
        finish.timings = self.timings;
        finish.stop = self.stop.clone();
        Ok(finish)
    }

    /// The error for a stream that can't go on.
    #[must_use]
    pub fn broken(&self, message: &str) -> ModelError {
        ModelError::Upstream { message: message.to_owned(), started: self.started }
    }
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Choices,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    llmo: Option<Llmo>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

impl Chunk {
    /// Is it surely no error?
    fn is_output(&self) -> bool {
        self.error.is_none() && (self.choices.any || self.usage.is_some())
    }
}

/// A list of choices of which only the one with index 0 is kept: a list of one would be an allocation with every token.
#[derive(Default)]
struct Choices {
    any: bool,
    first: Option<Choice>,
}

impl<'de> Deserialize<'de> for Choices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Choices;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of choices")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Choices, A::Error> {
                let mut choices = Choices::default();
                while let Some(choice) = list.next_element::<Choice>()? {
                    choices.any = true;
                    if choice.index == 0 && choices.first.is_none() {
                        choices.first = Some(choice);
                    }
                }
                Ok(choices)
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// Why the model stopped.
struct Reason(FinishReason);

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Reason;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a reason to stop")
            }

            /// `content_filter` and unknown reasons are ends of the model's own: nothing was cut off.
            fn visit_str<E>(self, name: &str) -> std::result::Result<Reason, E> {
                Ok(Reason(match name {
                    "length" | "max_tokens" => FinishReason::Length,
                    "tool_calls" | "function_call" | "tool_use" => FinishReason::ToolCalls,
                    _ => FinishReason::Stop,
                }))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    #[serde(default)]
    delta: Option<Said>,
    #[serde(default)]
    message: Option<Said>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    finish_reason: Option<Reason>,
    /// vLLM: the stop string, or the number of the stop token.
    #[serde(default)]
    stop_reason: Option<Value>,
    #[serde(default)]
    token_ids: Option<Vec<TokenId>>,
    #[serde(default)]
    logprobs: Option<WireLogprobs>,
    #[serde(default)]
    prompt_token_ids: Option<Vec<TokenId>>,
    #[serde(default)]
    prompt_logprobs: Option<Vec<PromptPlace>>,
    #[serde(default)]
    mirostat_mu: Option<f32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    content: Option<String>,
    tool_calls: Option<Vec<WireCall>>,
}

#[derive(Deserialize)]
struct WireUsage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

impl WireUsage {
    fn read(self) -> Usage {
        let mut usage = Usage::new(self.prompt_tokens, self.completion_tokens);
        usage.cached_tokens = self.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0);
        usage
    }
}

/// What llmo's services add to the last chunk.
#[derive(Deserialize)]
struct Llmo {
    #[serde(default)]
    timings: WireTimings,
    #[serde(default)]
    stop: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireTimings {
    queue_ms: f64,
    prefill_ms: f64,
    decode_ms: f64,
}

impl WireTimings {
    fn read(&self) -> Timings {
        let duration = |ms: f64| Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default();
        Timings::new(duration(self.queue_ms), duration(self.prefill_ms), duration(self.decode_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_a_reason_is_a_broken_stream() {
        let mut reader = Reader::new("m");
        assert!(matches!(reader.finish(), Err(ModelError::Upstream { started: false, .. })));
        reader.json(br#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#).unwrap();
        assert!(matches!(reader.finish(), Err(ModelError::Upstream { started: true, .. })));
    }

    #[test]
    fn the_announcement_of_a_role_is_not_output() {
        let mut reader = Reader::new("m");
        let read = reader.json(br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#);
        assert_eq!(read.unwrap(), Read::Nothing);
        assert!(!reader.started());
    }

    #[test]
    fn an_upstream_that_tells_nothing_of_the_prompt_when_asked_is_found_out() {
        let mut reader = Reader::new("m").expecting_prompt(true);
        let told =
            br#"{"choices":[{"text":"a","prompt_token_ids":[5,6],"prompt_logprobs":[null,{"6":{"logprob":-1.0}}]}]}"#;
        let Ok(Read::Delta(delta)) = reader.json(told) else { panic!("not understood") };
        assert_eq!(delta.prompt.iter().map(|entry| entry.logprob).collect::<Vec<_>>(), [None, Some(-1.0)]);
        assert!(matches!(reader.json(br#"{"choices":[{"text":"b"}]}"#), Ok(Read::Delta(_))), "told once is enough");
        let mut reader = Reader::new("m").expecting_prompt(true);
        assert!(matches!(reader.json(br#"{"choices":[{"text":"a"}]}"#), Err(ModelError::Unsupported { .. })));
    }

    #[test]
    fn tokens_without_text_are_output() {
        let mut reader = Reader::new("m");
        let read = reader.json(br#"{"choices":[{"index":0,"text":"","token_ids":[5]}]}"#);
        assert_eq!(read.unwrap(), Read::Delta(Delta::new("", vec![5])));
        assert!(reader.started());
    }

    #[test]
    fn garbage_is_an_error_and_says_whether_output_had_begun() {
        let mut reader = Reader::new("m");
        assert!(matches!(reader.json(b"<html>"), Err(ModelError::Upstream { started: false, .. })));
        reader.json(br#"{"choices":[{"text":"a"}]}"#).unwrap();
        let strange = reader.json(br#"{"choices":[{"text":5}]}"#);
        assert!(matches!(strange, Err(ModelError::Upstream { started: true, .. })));
    }
}
