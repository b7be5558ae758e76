//! Messages of a chat, and its functions.

use llmo_core::model::{Message, Role, Tool, ToolCall};
use serde::Deserialize;
use serde_json::Value;

use super::format;
use crate::dialect::object::Object;
use crate::dialect::{conversation, tools};
use crate::fault::Fault;

/// A message as the client sent it.
#[derive(Debug, Deserialize)]
pub(super) struct WireMessage {
    role: String,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    images: Option<Vec<Value>>,
    #[serde(default)]
    tool_calls: Option<Vec<WireCall>>,
    #[serde(default, alias = "name")]
    tool_name: Option<String>,
    #[serde(default)]
    tool_call_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireCall {
    #[serde(default)]
    id: Option<String>,
    function: WireCalled,
}

#[derive(Debug, Deserialize)]
struct WireCalled {
    name: String,
    #[serde(default)]
    arguments: Option<Value>,
}

/// A function as the client described it.
#[derive(Debug, Deserialize)]
pub(super) struct WireTool {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    function: WireFunction,
}

#[derive(Debug, Deserialize)]
struct WireFunction {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Option<Value>,
}

/// Translates a conversation.
pub(super) fn translate(messages: Vec<Object<WireMessage>>) -> Result<Vec<Message>, Fault> {
    let translated: Vec<Message> =
        messages.into_iter().enumerate().map(|(i, Object(message))| one(i, message)).collect::<Result<_, _>>()?;
    conversation::check_order("messages", &translated)?;
    Ok(translated)
}

fn one(i: usize, wire: WireMessage) -> Result<Message, Fault> {
    let role = match wire.role.as_str() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        other => {
            let why = format!("must be system, user, assistant or tool, not {other:?}");
            return Err(Fault::invalid(format!("messages[{i}].role"), why));
        }
    };
    format::no_images(&format!("messages[{i}].images"), wire.images.as_ref())?;
    let calls = wire.tool_calls.unwrap_or_default();
    if !calls.is_empty() && role != Role::Assistant {
        return Err(Fault::invalid(format!("messages[{i}].tool_calls"), "only the assistant calls functions"));
    }
    let content = match wire.content {
        Some(content) => content,
        None if !calls.is_empty() => String::new(),
        None => return Err(Fault::invalid(format!("messages[{i}].content"), "is missing")),
    };
    let mut message = Message::new(role, content);
    message.tool_calls = calls.into_iter().enumerate().map(|(j, wire)| call(i, j, wire)).collect::<Result<_, _>>()?;
    message.name = wire.tool_name;
    message.tool_call_id = wire.tool_call_id;
    Ok(message)
}

/// Ollama's calls need no ids: theirs is their place.
fn call(i: usize, j: usize, wire: WireCall) -> Result<ToolCall, Fault> {
    let arguments = wire.function.arguments.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    if !arguments.is_object() {
        return Err(Fault::invalid(format!("messages[{i}].tool_calls[{j}].function.arguments"), "must be an object"));
    }
    let id = wire.id.unwrap_or_else(|| format!("call_{i}_{j}"));
    Ok(ToolCall::new(id, wire.function.name, arguments.to_string()))
}

/// Translates the functions.
pub(super) fn functions(wire: Vec<WireTool>) -> Result<Vec<Tool>, Fault> {
    let mut functions = Vec::with_capacity(wire.len());
    for (i, tool) in wire.into_iter().enumerate() {
        if let Some(kind) = tool.kind.filter(|kind| kind != "function") {
            return Err(Fault::unsupported(format!("tools[{i}].type"), format!("must be function, not {kind:?}")));
        }
        let WireFunction { name, description, parameters } = tool.function;
        functions.push(tools::tool(&format!("tools[{i}].function"), name, description, parameters)?);
    }
    tools::check("tools", &functions, None)?;
    Ok(functions)
}
