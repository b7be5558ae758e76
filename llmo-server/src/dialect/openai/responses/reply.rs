//! Generations into responses.

use bytes::{Bytes, BytesMut};
use llmo_core::model::{Delta, Finish, FinishReason, ToolCall, ToolCallDelta};
use serde_json::{Value, json};

use super::Echo;
use super::events::Events;
use crate::dialect::openai::{error, logprobs};
use crate::dialect::{Form, Head, Reply, tools};
use crate::fault::Fault;
use crate::http::json;

/// The answer to one request.
#[derive(Debug)]
pub struct ResponseReply {
    head: Head,
    form: Form,
    echo: Echo,
    events: Events,
    /// The item that is being written, with all of it that has come.
    open: Option<Open>,
    /// Items that are complete.
    output: Vec<Value>,
}

#[derive(Debug)]
enum Open {
    Text(Delta),
    Call(u32, ToolCall),
}

impl ResponseReply {
    /// An answer under this head.
    #[must_use]
    pub fn new(head: Head, form: Form, echo: Echo) -> Self {
        Self { head, form, echo, events: Events::default(), open: None, output: Vec::new() }
    }

    fn response(&self, status: &str, output: Vec<Value>, finish: Option<&Finish>, error: Value) -> Value {
        let cut = (status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
        let mut response = json!({
            "id": format!("resp_{}", self.head.id),
            "object": "response",
            "created_at": self.head.created,
            "status": status,
            "error": error,
            "incomplete_details": cut,
            "model": self.head.model,
            "output": output,
            "usage": finish.map(usage),
        });
        if let Value::Object(fields) = &mut response {
            fields.extend(self.echo.0.clone());
        }
        response
    }

    fn message_id(&self) -> String {
        format!("msg_{}_{}", self.head.id, self.output.len())
    }

    fn call_id(&self) -> String {
        format!("fc_{}_{}", self.head.id, self.output.len())
    }

    fn part(&self, delta: &Delta) -> Value {
        let entries = if self.form.logprobs { logprobs::list(&delta.logprobs) } else { Vec::new() };
        json!({"type": "output_text", "text": delta.text, "annotations": [], "logprobs": entries})
    }

    fn message(&self, delta: &Delta, status: &str) -> Value {
        let content = if status == "in_progress" { Vec::new() } else { vec![self.part(delta)] };
        json!({"type": "message", "id": self.message_id(), "status": status, "role": "assistant", "content": content})
    }

    fn call(&self, call: &ToolCall, status: &str) -> Value {
        json!({
            "type": "function_call", "id": self.call_id(), "call_id": call.id, "name": call.name,
            "arguments": call.arguments, "status": status,
        })
    }

    /// Begins a message, unless one is being written.
    fn begin_text(&mut self, events: &mut BytesMut) {
        if matches!(self.open, Some(Open::Text(_))) {
            return;
        }
        self.end("completed", events);
        let (item, place, id) = (self.message(&Delta::default(), "in_progress"), self.output.len(), self.message_id());
        let part = self.part(&Delta::default());
        self.events.write("response.output_item.added", json!({"output_index": place, "item": item}), events);
        let added = json!({"item_id": id, "output_index": place, "content_index": 0, "part": part});
        self.events.write("response.content_part.added", added, events);
        self.open = Some(Open::Text(Delta::default()));
    }

    fn text(&mut self, delta: &Delta, events: &mut BytesMut) {
        self.begin_text(events);
        let entries = if self.form.logprobs { logprobs::list(&delta.logprobs) } else { Vec::new() };
        let piece = json!({
            "item_id": self.message_id(), "output_index": self.output.len(), "content_index": 0,
            "delta": delta.text, "logprobs": entries,
        });
        self.events.write("response.output_text.delta", piece, events);
        if let Some(Open::Text(whole)) = &mut self.open {
            whole.text.push_str(&delta.text);
            whole.logprobs.extend(delta.logprobs.iter().cloned());
        }
    }

    fn call_piece(&mut self, piece: &ToolCallDelta, events: &mut BytesMut) {
        if !matches!(&self.open, Some(Open::Call(index, _)) if *index == piece.index) {
            self.end("completed", events);
            let name = piece.name.clone().unwrap_or_default();
            let call = ToolCall::new(piece.id.clone().unwrap_or_default(), name, "");
            let added = json!({"output_index": self.output.len(), "item": self.call(&call, "in_progress")});
            self.events.write("response.output_item.added", added, events);
            self.open = Some(Open::Call(piece.index, call));
        }
        if piece.arguments.is_empty() {
            return;
        }
        let more = json!({"item_id": self.call_id(), "output_index": self.output.len(), "delta": piece.arguments});
        self.events.write("response.function_call_arguments.delta", more, events);
        if let Some(Open::Call(_, call)) = &mut self.open {
            call.arguments.push_str(&piece.arguments);
        }
    }

    /// Ends the item that is being written.
    fn end(&mut self, status: &str, events: &mut BytesMut) {
        let place = self.output.len();
        let item = match self.open.take() {
            None => return,
            Some(Open::Text(delta)) => {
                let (id, part) = (self.message_id(), self.part(&delta));
                let done = json!({
                    "item_id": id, "output_index": place, "content_index": 0, "text": delta.text,
                    "logprobs": part["logprobs"],
                });
                self.events.write("response.output_text.done", done, events);
                let done = json!({"item_id": id, "output_index": place, "content_index": 0, "part": part});
                self.events.write("response.content_part.done", done, events);
                self.message(&delta, status)
            }
            Some(Open::Call(_, call)) => {
                let done = json!({
                    "item_id": self.call_id(), "output_index": place, "name": call.name, "arguments": call.arguments,
                });
                self.events.write("response.function_call_arguments.done", done, events);
                self.call(&call, status)
            }
        };
        self.events.write("response.output_item.done", json!({"output_index": place, "item": item}), events);
        self.output.push(item);
    }
}

impl Reply for ResponseReply {
    fn whole(&mut self, choices: &[(Delta, Finish)]) -> Bytes {
        let Some((delta, finish)) = choices.first() else {
            return json::bytes(&self.response("completed", Vec::new(), None, Value::Null));
        };
        let status = status(finish);
        let calls = tools::calls(&delta.tool_calls);
        if !delta.text.is_empty() || calls.is_empty() {
            let item = self.message(delta, status);
            self.output.push(item);
        }
        for call in calls {
            let item = self.call(&call, status);
            self.output.push(item);
        }
        json::bytes(&self.response(status, self.output.clone(), Some(finish), Value::Null))
    }

    fn open(&mut self, _: usize) -> Option<Bytes> {
        let response = self.response("in_progress", Vec::new(), None, Value::Null);
        let mut events = BytesMut::new();
        self.events.write("response.created", json!({"response": response}), &mut events);
        self.events.write("response.in_progress", json!({"response": response}), &mut events);
        Some(events.freeze())
    }

    fn piece(&mut self, _: usize, delta: &Delta) -> Option<Bytes> {
        let mut events = BytesMut::new();
        if !delta.text.is_empty() || (self.form.logprobs && !delta.logprobs.is_empty()) {
            self.text(delta, &mut events);
        }
        for piece in &delta.tool_calls {
            self.call_piece(piece, &mut events);
        }
        (!events.is_empty()).then(|| events.freeze())
    }

    fn finish(&mut self, _: usize, finish: &Finish) -> Bytes {
        let mut events = BytesMut::new();
        if self.open.is_none() && self.output.is_empty() {
            // An answer without a word is a message without a word.
            self.begin_text(&mut events);
        }
        let status = status(finish);
        self.end(status, &mut events);
        let response = self.response(status, self.output.clone(), Some(finish), Value::Null);
        self.events.write(&format!("response.{status}"), json!({"response": response}), &mut events);
        events.freeze()
    }

    fn close(&mut self, _: &[Finish]) -> Vec<Bytes> {
        Vec::new()
    }

    /// OpenAI's form of the event, and beside it `error`, which its clients raise as an exception.
    fn failure(&mut self, fault: &Fault) -> Bytes {
        let mut body = error::body(fault);
        let told = json!({"code": fault.code(), "message": body["error"]["message"], "param": fault.param()});
        if let (Value::Object(fields), Value::Object(told)) = (&mut body, told) {
            fields.extend(told);
        }
        let mut events = BytesMut::new();
        self.events.write("error", body, &mut events);
        events.freeze()
    }
}

fn status(finish: &Finish) -> &'static str {
    if finish.reason == FinishReason::Length { "incomplete" } else { "completed" }
}

fn usage(finish: &Finish) -> Value {
    let usage = finish.usage;
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total(),
    })
}
