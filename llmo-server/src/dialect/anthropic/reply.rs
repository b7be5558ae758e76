//! Generations into messages and their events.
//!
//! A stream is `message_start`, `ping`, then for each block `content_block_start`, its deltas and
//! `content_block_stop`, then `message_delta` with the reason and the usage, and `message_stop`. A block begins when
//! something of it comes: text, or a call.

use bytes::{Bytes, BytesMut};
use llmo_core::model::{Delta, Finish, FinishReason, ToolCallDelta};
use serde::Serialize;
use serde_json::{Value, json};

use super::error;
use crate::dialect::{Head, Reply, sse, tools};
use crate::fault::Fault;
use crate::http::json;

/// The answer to one request.
#[derive(Debug)]
pub struct MessageReply {
    head: Head,
    open: Option<Open>,
    /// Blocks that have begun.
    blocks: usize,
}

/// The block that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    /// The call of this number.
    Call(u32),
}

impl MessageReply {
    /// An answer under this head.
    #[must_use]
    pub fn new(mut head: Head) -> Self {
        head.id.insert_str(0, "msg_");
        Self { head, open: None, blocks: 0 }
    }

    fn message(&self, content: Vec<Value>, finish: Option<&Finish>) -> Value {
        json!({
            "id": self.head.id,
            "type": "message",
            "role": "assistant",
            "model": self.head.model,
            "content": content,
            "stop_reason": finish.map(reason),
            "stop_sequence": finish.and_then(|finish| finish.stop.clone()),
            "usage": finish.map_or_else(WireUsage::default, WireUsage::of),
        })
    }

    fn place(&self) -> usize {
        self.blocks.saturating_sub(1)
    }

    /// Begins a block, and ends the one before it.
    fn begin(&mut self, open: Open, block: &Value, events: &mut BytesMut) {
        self.end(events);
        self.blocks += 1;
        self.open = Some(open);
        let start = json!({"type": "content_block_start", "index": self.place(), "content_block": block});
        events.extend_from_slice(&sse::named("content_block_start", &start));
    }

    fn end(&mut self, events: &mut BytesMut) {
        if self.open.take().is_some() {
            let stop = json!({"type": "content_block_stop", "index": self.place()});
            events.extend_from_slice(&sse::named("content_block_stop", &stop));
        }
    }

    fn more(&self, delta: PieceDelta<'_>, events: &mut BytesMut) {
        let piece = Piece { kind: "content_block_delta", index: self.place(), delta };
        events.extend_from_slice(&sse::named("content_block_delta", &piece));
    }

    fn call(&mut self, piece: &ToolCallDelta, events: &mut BytesMut) {
        let open = Open::Call(piece.index);
        if self.open != Some(open) {
            let block = json!({"type": "tool_use", "id": piece.id, "name": piece.name, "input": {}});
            self.begin(open, &block, events);
        }
        if !piece.arguments.is_empty() {
            self.more(PieceDelta::InputJsonDelta { partial_json: &piece.arguments }, events);
        }
    }
}

impl Reply for MessageReply {
    fn whole(&mut self, choices: &[(Delta, Finish)]) -> Bytes {
        let Some((delta, finish)) = choices.first() else {
            return json::bytes(&self.message(Vec::new(), None));
        };
        let text = (!delta.text.is_empty()).then(|| json!({"type": "text", "text": delta.text}));
        let calls = tools::calls(&delta.tool_calls).into_iter().map(|call| {
            json!({"type": "tool_use", "id": call.id, "name": call.name, "input": tools::arguments(&call.arguments)})
        });
        json::bytes(&self.message(text.into_iter().chain(calls).collect(), Some(finish)))
    }

    fn open(&mut self, _: usize) -> Option<Bytes> {
        let start = json!({"type": "message_start", "message": self.message(Vec::new(), None)});
        let mut events = BytesMut::from(&*sse::named("message_start", &start));
        events.extend_from_slice(PING);
        Some(events.freeze())
    }

    fn piece(&mut self, _: usize, delta: &Delta) -> Option<Bytes> {
        let mut events = BytesMut::new();
        if !delta.text.is_empty() {
            if self.open != Some(Open::Text) {
                self.begin(Open::Text, &json!({"type": "text", "text": ""}), &mut events);
            }
            self.more(PieceDelta::TextDelta { text: &delta.text }, &mut events);
        }
        for piece in &delta.tool_calls {
            self.call(piece, &mut events);
        }
        (!events.is_empty()).then(|| events.freeze())
    }

    fn finish(&mut self, _: usize, finish: &Finish) -> Bytes {
        let mut events = BytesMut::new();
        self.end(&mut events);
        let delta = json!({
            "type": "message_delta",
            "delta": {"stop_reason": reason(finish), "stop_sequence": finish.stop},
            "usage": WireUsage::of(finish),
        });
        events.extend_from_slice(&sse::named("message_delta", &delta));
        events.freeze()
    }

    fn close(&mut self, _: &[Finish]) -> Vec<Bytes> {
        vec![sse::named("message_stop", &json!({"type": "message_stop"}))]
    }

    fn failure(&mut self, fault: &Fault) -> Bytes {
        sse::error(&error::body(fault))
    }

    fn heartbeat(&self) -> Option<Bytes> {
        Some(Bytes::from_static(PING))
    }
}

const PING: &[u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";

#[derive(Serialize)]
struct Piece<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    index: usize,
    delta: PieceDelta<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum PieceDelta<'a> {
    TextDelta { text: &'a str },
    InputJsonDelta { partial_json: &'a str },
}

/// `usage`. Tokens of the prompt that were in the KV cache are not among `input_tokens`.
#[derive(Debug, Default, Serialize)]
struct WireUsage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
}

impl WireUsage {
    fn of(finish: &Finish) -> Self {
        let usage = finish.usage;
        Self {
            input_tokens: usage.prompt_tokens.saturating_sub(usage.cached_tokens),
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: usage.cached_tokens,
            output_tokens: usage.completion_tokens,
        }
    }
}

fn reason(finish: &Finish) -> &'static str {
    match finish.reason {
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        _ if finish.stop.is_some() => "stop_sequence",
        _ => "end_turn",
    }
}
