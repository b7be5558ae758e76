//! Functions and their calls, as upstreams read and write them. Pure.

use llmo_core::model::{GenerateRequest, Message, Tool, ToolCallDelta, ToolChoice};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::object::Object;
use super::request::Each;

/// A message in OpenAI's form.
#[derive(Serialize)]
pub(super) struct WireMessage<'a> {
    role: &'a str,
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Called<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct Called<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: CalledFunction<'a>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

/// The form of a message.
pub(super) fn message(message: &Message) -> WireMessage<'_> {
    let has_calls = !message.tool_calls.is_empty();
    let calls = message.tool_calls.iter().map(|call| Called {
        id: &call.id,
        kind: "function",
        function: CalledFunction { name: &call.name, arguments: &call.arguments },
    });
    WireMessage {
        role: message.role.as_str(),
        content: (!has_calls || !message.content.is_empty()).then_some(message.content.as_str()),
        tool_calls: calls.collect(),
        tool_call_id: message.tool_call_id.as_deref(),
        name: message.name.as_deref(),
    }
}

#[derive(Serialize)]
struct Offered<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: &'a Tool,
}

/// The functions of a request and the choice among them, spelled out where it is not the upstream's default.
pub(super) fn insert(body: &mut Object, request: &GenerateRequest) {
    if request.tools.is_empty() {
        return;
    }
    body.insert("tools", Each(&request.tools, |function| Offered { kind: "function", function }));
    match &request.tool_choice {
        ToolChoice::None => body.insert("tool_choice", "none"),
        ToolChoice::Required => body.insert("tool_choice", "required"),
        ToolChoice::Named(name) => body.insert("tool_choice", json!({"type": "function", "function": {"name": name}})),
        _ => {}
    }
    // llama-server's default is false, OpenAI's is true.
    body.insert("parallel_tool_calls", request.parallel_tool_calls);
}

/// A call, or a piece of one, in an answer.
#[derive(Debug, Deserialize)]
pub(super) struct WireCall {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: WireFunction,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireFunction {
    name: Option<String>,
    arguments: Option<String>,
}

/// The pieces in one chunk; whole answers number their calls by order.
pub(super) fn read(calls: Vec<WireCall>) -> Vec<ToolCallDelta> {
    let read = |(order, call): (u32, WireCall)| {
        let mut delta =
            ToolCallDelta::arguments(call.index.unwrap_or(order), call.function.arguments.unwrap_or_default());
        // Some upstreams repeat them, empty, with every piece.
        delta.id = call.id.filter(|id| !id.is_empty());
        delta.name = call.function.name.filter(|name| !name.is_empty());
        delta
    };
    (0..).zip(calls).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_calls_is_openai_s() {
        let mut called = Message::assistant("");
        called.tool_calls.push(llmo_core::model::ToolCall::new("c1", "f", "{}"));
        assert_eq!(
            json!(message(&called)),
            json!({"role": "assistant", "content": null,
                   "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]})
        );
        assert_eq!(json!(message(&Message::user("x"))), json!({"role": "user", "content": "x"}));
    }

    #[test]
    fn pieces_of_calls_are_read_in_every_upstream_s_form() {
        let wire = json!([{"index": 1, "id": "", "function": {"name": null, "arguments": "{\"a\""}}]);
        assert_eq!(read(serde_json::from_value(wire).unwrap()), [ToolCallDelta::arguments(1, "{\"a\"")]);
        let wire = json!([{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
        let whole = read(serde_json::from_value(wire).unwrap());
        assert_eq!((whole[0].index, whole[0].id.as_deref(), whole[0].name.as_deref()), (0, Some("c"), Some("f")));
        assert_eq!(whole[0].arguments, "{}");
    }
}
