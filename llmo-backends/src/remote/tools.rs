//! Functions and their calls, as upstreams read and write them. Pure.

use llmo_core::model::{GenerateRequest, Message, ToolCallDelta, ToolChoice};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A message in OpenAI's form.
pub(super) fn message(message: &Message) -> Value {
    let mut wire = Map::new();
    wire.insert("role".into(), message.role.as_str().into());
    let has_calls = !message.tool_calls.is_empty();
    let content = if has_calls && message.content.is_empty() { Value::Null } else { message.content.as_str().into() };
    wire.insert("content".into(), content);
    if has_calls {
        let calls = message.tool_calls.iter().map(|call| {
            json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}})
        });
        wire.insert("tool_calls".into(), calls.collect());
    }
    if let Some(id) = &message.tool_call_id {
        wire.insert("tool_call_id".into(), id.as_str().into());
    }
    if let Some(name) = &message.name {
        wire.insert("name".into(), name.as_str().into());
    }
    Value::Object(wire)
}

/// The functions of a request and the choice among them, spelled out where it is not the upstream's default.
pub(super) fn insert(body: &mut Map<String, Value>, request: &GenerateRequest) {
    if request.tools.is_empty() {
        return;
    }
    let tools = request.tools.iter().map(|tool| {
        let mut function = Map::new();
        function.insert("name".into(), tool.name.as_str().into());
        if let Some(description) = &tool.description {
            function.insert("description".into(), description.as_str().into());
        }
        function.insert("parameters".into(), tool.parameters.clone());
        json!({"type": "function", "function": function})
    });
    body.insert("tools".into(), tools.collect());
    let choice = match &request.tool_choice {
        ToolChoice::None => Some(json!("none")),
        ToolChoice::Required => Some(json!("required")),
        ToolChoice::Named(name) => Some(json!({"type": "function", "function": {"name": name}})),
        _ => None,
    };
    if let Some(choice) = choice {
        body.insert("tool_choice".into(), choice);
    }
    // llama-server's default is false, OpenAI's is true.
    body.insert("parallel_tool_calls".into(), request.parallel_tool_calls.into());
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
            message(&called),
            json!({"role": "assistant", "content": null,
                   "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]})
        );
        assert_eq!(message(&Message::user("x")), json!({"role": "user", "content": "x"}));
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
