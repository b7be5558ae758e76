//! Generations into chat answers and chunks.

use bytes::Bytes;
use llmo_core::model::{Delta, Finish, TokenId, TokenLogprob};
use serde::Serialize;
use serde_json::Value;

use super::calls::{self, WireCall};
use crate::dialect::openai::Reply;
use crate::dialect::openai::envelope::{Envelope, reason};
use crate::dialect::openai::logprobs::{self, ChatLogprobs};
use crate::dialect::{Form, Head};

/// The answer to one chat request.
#[derive(Debug)]
pub struct ChatReply {
    envelope: Envelope,
    /// May there be calls of functions?
    tools: bool,
}

impl ChatReply {
    /// An answer under this head, in this form.
    #[must_use]
    pub fn new(head: Head, form: Form) -> Self {
        let objects = ("chat.completion", "chat.completion.chunk");
        Self { envelope: Envelope::new(head, form, "chatcmpl-", objects), tools: false }
    }

    /// Functions were offered: a stream opens without content, as there may be none.
    #[must_use]
    pub fn with_tools(mut self, offered: bool) -> Self {
        self.tools = offered;
        self
    }

    fn form(&self) -> Form {
        self.envelope.form
    }

    fn logprobs(&self, entries: &[TokenLogprob]) -> Option<ChatLogprobs> {
        self.form().logprobs.then(|| logprobs::chat(entries))
    }

    fn choice<'a>(&self, index: usize, delta: &'a Delta, finish: &Finish) -> Choice<'a> {
        let tool_calls = calls::whole(&delta.tool_calls);
        let content = Some(delta.text.as_str()).filter(|text| tool_calls.is_empty() || !text.is_empty());
        Choice {
            index,
            message: Said { role: "assistant", content, refusal: None, tool_calls },
            logprobs: self.logprobs(&delta.logprobs),
            finish_reason: reason(finish),
            token_ids: self.form().token_ids.then_some(&delta.tokens),
            mirostat_mu: delta.mirostat_mu.filter(|_| self.form().token_ids),
        }
    }
}

impl Reply for ChatReply {
    fn whole(&mut self, choices: &[(Delta, Finish)]) -> Bytes {
        let rendered: Vec<Choice<'_>> =
            choices.iter().enumerate().map(|(i, (delta, finish))| self.choice(i, delta, finish)).collect();
        self.envelope.whole(&rendered, choices.iter().map(|(_, finish)| finish))
    }

    fn open(&mut self, choice: usize) -> Option<Bytes> {
        let content = Some((!self.tools).then_some(""));
        let delta = WireDelta { role: Some("assistant"), content, ..WireDelta::default() };
        Some(self.envelope.piece(Piece::new(choice, delta)))
    }

    fn piece(&mut self, choice: usize, delta: &Delta) -> Option<Bytes> {
        self.form().tells(delta).then(|| {
            let tool_calls: Vec<WireCall<'_>> = delta.tool_calls.iter().map(WireCall::from).collect();
            let content = (tool_calls.is_empty() || !delta.text.is_empty()).then_some(Some(delta.text.as_str()));
            let mut piece = Piece::new(choice, WireDelta { role: None, content, tool_calls });
            piece.logprobs = self.logprobs(&delta.logprobs);
            piece.token_ids = self.form().token_ids.then_some(&delta.tokens);
            piece.mirostat_mu = delta.mirostat_mu.filter(|_| self.form().token_ids);
            self.envelope.piece(piece)
        })
    }

    fn finish(&mut self, choice: usize, finish: &Finish) -> Bytes {
        let mut last = Piece::new(choice, WireDelta::default());
        last.finish_reason = Some(reason(finish));
        self.envelope.finish(last, finish)
    }

    fn close(&mut self, finishes: &[Finish]) -> Vec<Bytes> {
        self.envelope.close(finishes)
    }
}

/// A choice of a whole answer.
#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    message: Said<'a>,
    logprobs: Option<ChatLogprobs>,
    finish_reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ids: Option<&'a Vec<TokenId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirostat_mu: Option<f32>,
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    content: Option<&'a str>,
    /// OpenAI's clients expect the field.
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Value>,
}

/// A choice in a chunk.
#[derive(Serialize)]
struct Piece<'a> {
    index: usize,
    delta: WireDelta<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<ChatLogprobs>,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ids: Option<&'a Vec<TokenId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirostat_mu: Option<f32>,
}

impl<'a> Piece<'a> {
    fn new(index: usize, delta: WireDelta<'a>) -> Self {
        Self { index, delta, logprobs: None, finish_reason: None, token_ids: None, mirostat_mu: None }
    }
}

#[derive(Serialize, Default)]
struct WireDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireCall<'a>>,
}
