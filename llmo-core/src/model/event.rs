//! What a generation yields.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use super::tool::ToolCallDelta;
use super::{Result, TokenId};

/// One step of a generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// More text.
    Delta(Delta),
    /// The end; nothing follows.
    Finish(Finish),
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Delta {
    /// The text; whole characters only, never part of a stop string. May be empty while a character is incomplete.
    pub text: String,
    /// The tokens this delta accounts for, in order. Concatenated over the stream they are all tokens generated,
    /// also those whose text was held back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenId>,
    /// One entry a token, if asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<TokenLogprob>,
    /// Pieces of calls of functions. Their text is not in `text`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCallDelta>,
    /// The tokens of the prompt, if their log probabilities were asked for: all of them, in the first delta.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompt: Vec<PromptToken>,
    /// With mirostat: its state after the last of these tokens, for whoever continues the sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirostat_mu: Option<f32>,
}

impl Delta {
    /// Text from tokens.
    #[must_use]
    pub fn new(text: impl Into<String>, tokens: Vec<TokenId>) -> Self {
        Self { text: text.into(), tokens, ..Self::default() }
    }

    /// Is there nothing in it?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
            && self.tokens.is_empty()
            && self.logprobs.is_empty()
            && self.tool_calls.is_empty()
            && self.prompt.is_empty()
    }

    /// Appends what came after it.
    pub fn append(&mut self, next: Self) {
        self.text.push_str(&next.text);
        self.tokens.extend(next.tokens);
        self.logprobs.extend(next.logprobs);
        self.tool_calls.extend(next.tool_calls);
        self.prompt.extend(next.prompt);
        self.mirostat_mu = next.mirostat_mu.or(self.mirostat_mu);
    }
}

/// A token of the prompt and how likely the model found it there; natural logarithm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromptToken {
    /// The token.
    pub token: TokenId,
    /// Its bytes; may be part of a character. Nothing for control tokens.
    pub bytes: Vec<u8>,
    /// Its log probability after the tokens before it. `None` for the first: nothing comes before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprob: Option<f32>,
    /// The likeliest tokens at this place, likeliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<TopLogprob>,
}

/// Log probability of a generated token, natural logarithm, before temperature and filters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token.
    pub token: TokenId,
    /// Its bytes; may be part of a character.
    pub bytes: Vec<u8>,
    /// Its log probability.
    pub logprob: f32,
    /// The likeliest tokens at this place, likeliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<TopLogprob>,
}

/// An alternative to a generated token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopLogprob {
    /// The token.
    pub token: TokenId,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its log probability.
    pub logprob: f32,
}

/// How a generation ended and what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finish {
    /// Why it ended.
    pub reason: FinishReason,
    /// The stop string that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
    /// Tokens read and written.
    pub usage: Usage,
    /// Time spent.
    #[serde(default)]
    pub timings: Timings,
}

impl Finish {
    /// An end without timings.
    #[must_use]
    pub fn new(reason: FinishReason, usage: Usage) -> Self {
        Self { reason, stop: None, usage, timings: Timings::default() }
    }
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The model said it is done, or a stop string came.
    Stop,
    /// `max_tokens` or the context was reached.
    Length,
    /// The model called functions and waits for their results.
    ToolCalls,
}

/// Tokens counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Of these, how many were in the KV cache already.
    #[serde(default)]
    pub cached_tokens: u64,
    /// Tokens generated; the end-of-text token is not counted.
    pub completion_tokens: u64,
}

impl Usage {
    /// Tokens read and written.
    #[must_use]
    pub fn new(prompt_tokens: u64, completion_tokens: u64) -> Self {
        Self { prompt_tokens, cached_tokens: 0, completion_tokens }
    }

    /// Both together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }
}

/// Time spent in the model. Zero where unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Timings {
    /// Waiting for a slot.
    pub queue: Duration,
    /// Reading the prompt.
    pub prefill: Duration,
    /// Generating.
    pub decode: Duration,
}

impl Timings {
    /// The three parts of a request's time.
    #[must_use]
    pub fn new(queue: Duration, prefill: Duration, decode: Duration) -> Self {
        Self { queue, prefill, decode }
    }
}

/// What a response cache did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CacheStatus {
    /// There was none on the way.
    #[default]
    None,
    /// The answer came from it.
    Hit,
    /// It had no answer.
    Miss,
    /// It was not asked: the request is not deterministic, or the cache does not work.
    Bypass,
    /// Another, identical request was being generated; its answer is shared.
    Coalesced,
}

impl CacheStatus {
    /// The value of the header `x-cache`; `None` without a cache.
    #[must_use]
    pub fn header(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Hit => Some("hit"),
            Self::Miss => Some("miss"),
            Self::Bypass => Some("bypass"),
            Self::Coalesced => Some("coalesced"),
        }
    }
}

/// Where an answer comes from: known when the stream starts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Origin {
    /// What the response cache did.
    pub cache: CacheStatus,
    /// The replica that answers, if a router chose one.
    pub replica: Option<String>,
    /// The model that answers, if not the one asked for.
    pub model: Option<String>,
    /// Why that replica: what a router says of its choice, for people; if the request asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
}

/// The events of one generation: deltas, then exactly one `Finish`; or an `Err`, and nothing after it.
///
/// Dropping it cancels the generation.
pub struct EventStream {
    events: BoxStream<'static, Result<Event>>,
    /// Where the answer comes from.
    pub origin: Origin,
}

impl EventStream {
    /// Wraps a stream of events.
    pub fn new(events: impl Stream<Item = Result<Event>> + Send + 'static) -> Self {
        Self { events: Box::pin(events), origin: Origin::default() }
    }

    /// Sets where the answer comes from.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Passes the events through `f`, keeping the origin.
    pub fn map_stream<S>(self, f: impl FnOnce(BoxStream<'static, Result<Event>>) -> S) -> Self
    where
        S: Stream<Item = Result<Event>> + Send + 'static,
    {
        Self { events: Box::pin(f(self.events)), origin: self.origin }
    }

    /// Reads to the end: the whole text (with all tokens and log probabilities) and the finish.
    ///
    /// # Errors
    /// The stream's own error, or [`Upstream`](super::ModelError::Upstream) if it ended without a finish.
    pub async fn collect_all(mut self) -> Result<(Delta, Finish)> {
        use futures::StreamExt;
        let mut whole = Delta::default();
        while let Some(event) = self.events.next().await {
            match event? {
                Event::Delta(delta) => whole.append(delta),
                Event::Finish(finish) => return Ok((whole, finish)),
            }
        }
        Err(super::ModelError::Upstream { message: "the stream ended without a finish".into(), started: true })
    }
}

impl Stream for EventStream {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("origin", &self.origin).finish_non_exhaustive()
    }
}
