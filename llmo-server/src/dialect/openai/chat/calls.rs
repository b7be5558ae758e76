//! Calls of functions in answers.

use llmo_core::model::ToolCallDelta;
use serde::Serialize;
use serde_json::{Value, json};

/// A piece of a call in a chunk.
#[derive(Serialize)]
pub(super) struct WireCall<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: WireFunction<'a>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

impl<'a> From<&'a ToolCallDelta> for WireCall<'a> {
    fn from(delta: &'a ToolCallDelta) -> Self {
        Self {
            index: delta.index,
            id: delta.id.as_deref(),
            kind: delta.id.is_some().then_some("function"),
            function: WireFunction { name: delta.name.as_deref(), arguments: &delta.arguments },
        }
    }
}

/// The calls of a whole answer, put together from their pieces.
pub(super) fn whole(pieces: &[ToolCallDelta]) -> Vec<Value> {
    let mut calls: Vec<(u32, String, String, String)> = Vec::new();
    for piece in pieces {
        let at = calls.iter().position(|call| call.0 == piece.index).unwrap_or_else(|| {
            calls.push((piece.index, String::new(), String::new(), String::new()));
            calls.len() - 1
        });
        let call = &mut calls[at];
        call.1.push_str(piece.id.as_deref().unwrap_or_default());
        call.2.push_str(piece.name.as_deref().unwrap_or_default());
        call.3.push_str(&piece.arguments);
    }
    calls.sort_by_key(|call| call.0);
    let render = |(_, id, name, arguments): (u32, String, String, String)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    calls.into_iter().map(render).collect()
}
