//! Generations into answers and lines.

use bytes::Bytes;
use llmo_core::model::{Delta, Finish, ToolCall, ToolCallDelta};
use serde::Serialize;
use serde_json::{Value, json};

use super::timing::{Ended, rfc3339};
use super::{error, line};
use crate::dialect::openai::logprobs::{self, Entry};
use crate::dialect::{Form, Head, Reply, tools};
use crate::fault::Fault;
use crate::http::json;

/// What every line begins with.
#[derive(Debug, Clone, Serialize)]
struct Stamp {
    model: String,
    created_at: String,
}

impl Stamp {
    fn new(head: &Head) -> Self {
        Self { model: head.model.clone(), created_at: rfc3339(head.created) }
    }
}

#[derive(Serialize)]
struct Line<'a, T> {
    #[serde(flatten)]
    stamp: &'a Stamp,
    #[serde(flatten)]
    said: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<Entry>>,
    done: bool,
    #[serde(flatten)]
    ended: Option<Ended>,
}

#[derive(Serialize)]
struct Response<'a> {
    response: &'a str,
}

#[derive(Serialize)]
struct Spoken<'a> {
    message: WireMessage<'a>,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Value>,
}

/// What both kinds of answers share.
#[derive(Debug)]
struct Envelope {
    stamp: Stamp,
    logprobs: bool,
}

impl Envelope {
    fn new(head: &Head, form: Form) -> Self {
        Self { stamp: Stamp::new(head), logprobs: form.logprobs }
    }

    fn line<T>(&self, said: T, delta: &Delta, finish: Option<&Finish>) -> Line<'_, T> {
        let entries = (self.logprobs && !delta.logprobs.is_empty()).then(|| logprobs::list(&delta.logprobs));
        Line { stamp: &self.stamp, said, logprobs: entries, done: finish.is_some(), ended: finish.map(Ended::of) }
    }

    fn tells(&self, delta: &Delta) -> bool {
        !delta.text.is_empty() || (self.logprobs && !delta.logprobs.is_empty())
    }
}

/// The answer to a request without a prompt: the model is there, or gone.
#[must_use]
pub(crate) fn presence(head: &Head, unloaded: bool, chat: bool) -> Value {
    let stamp = Stamp::new(head);
    let mut answer = json!({"model": stamp.model, "created_at": stamp.created_at});
    if chat {
        answer["message"] = json!({"role": "assistant", "content": ""});
    } else {
        answer["response"] = json!("");
    }
    answer["done"] = json!(true);
    answer["done_reason"] = json!(if unloaded { "unload" } else { "load" });
    answer
}

/// The answer to `/api/generate`.
#[derive(Debug)]
pub struct GenerateReply(Envelope);

impl GenerateReply {
    /// An answer under this head, in this form.
    #[must_use]
    pub fn new(head: &Head, form: Form) -> Self {
        Self(Envelope::new(head, form))
    }
}

impl Reply for GenerateReply {
    fn whole(&mut self, choices: &[(Delta, Finish)]) -> Bytes {
        let Some((delta, finish)) = choices.first() else { return json::bytes(&Value::Null) };
        json::bytes(&self.0.line(Response { response: &delta.text }, delta, Some(finish)))
    }

    fn open(&mut self, _: usize) -> Option<Bytes> {
        None
    }

    fn piece(&mut self, _: usize, delta: &Delta) -> Option<Bytes> {
        self.0.tells(delta).then(|| line(&self.0.line(Response { response: &delta.text }, delta, None)))
    }

    fn finish(&mut self, _: usize, finish: &Finish) -> Bytes {
        line(&self.0.line(Response { response: "" }, &Delta::default(), Some(finish)))
    }

    fn close(&mut self, _: &[Finish]) -> Vec<Bytes> {
        Vec::new()
    }

    fn failure(&mut self, fault: &Fault) -> Bytes {
        line(&error::body(fault))
    }

    fn heartbeat(&self) -> Option<Bytes> {
        None
    }

    fn media_type(&self) -> &'static str {
        NDJSON
    }
}

/// Lines of JSON.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// The answer to `/api/chat`. Calls are told whole, each in a line of its own: its arguments are an object here.
#[derive(Debug)]
pub struct ChatReply {
    envelope: Envelope,
    /// Pieces of the call that is being made.
    pending: Vec<ToolCallDelta>,
}

impl ChatReply {
    /// An answer under this head, in this form.
    #[must_use]
    pub fn new(head: &Head, form: Form) -> Self {
        Self { envelope: Envelope::new(head, form), pending: Vec::new() }
    }

    fn message<'a>(&self, content: &'a str, calls: &[ToolCall]) -> Spoken<'a> {
        Spoken { message: WireMessage { role: "assistant", content, tool_calls: calls.iter().map(call).collect() } }
    }

    /// Takes pieces of calls; returns the calls that are complete now.
    fn complete(&mut self, pieces: &[ToolCallDelta]) -> Vec<ToolCall> {
        let mut complete = Vec::new();
        for piece in pieces {
            if self.pending.last().is_some_and(|last| last.index != piece.index) {
                complete.extend(tools::calls(&std::mem::take(&mut self.pending)));
            }
            self.pending.push(piece.clone());
        }
        complete
    }
}

impl Reply for ChatReply {
    fn whole(&mut self, choices: &[(Delta, Finish)]) -> Bytes {
        let Some((delta, finish)) = choices.first() else { return json::bytes(&Value::Null) };
        let said = self.message(&delta.text, &tools::calls(&delta.tool_calls));
        json::bytes(&self.envelope.line(said, delta, Some(finish)))
    }

    fn open(&mut self, _: usize) -> Option<Bytes> {
        None
    }

    fn piece(&mut self, _: usize, delta: &Delta) -> Option<Bytes> {
        let calls = self.complete(&delta.tool_calls);
        (self.envelope.tells(delta) || !calls.is_empty())
            .then(|| line(&self.envelope.line(self.message(&delta.text, &calls), delta, None)))
    }

    fn finish(&mut self, _: usize, finish: &Finish) -> Bytes {
        let last = tools::calls(&std::mem::take(&mut self.pending));
        let mut lines = Vec::new();
        if !last.is_empty() {
            lines.extend_from_slice(&line(&self.envelope.line(self.message("", &last), &Delta::default(), None)));
        }
        lines.extend_from_slice(&line(&self.envelope.line(self.message("", &[]), &Delta::default(), Some(finish))));
        lines.into()
    }

    fn close(&mut self, _: &[Finish]) -> Vec<Bytes> {
        Vec::new()
    }

    fn failure(&mut self, fault: &Fault) -> Bytes {
        line(&error::body(fault))
    }

    fn heartbeat(&self) -> Option<Bytes> {
        None
    }

    fn media_type(&self) -> &'static str {
        NDJSON
    }
}

fn call(call: &ToolCall) -> Value {
    json!({"id": call.id, "function": {"name": call.name, "arguments": tools::arguments(&call.arguments)}})
}
