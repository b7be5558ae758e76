//! Messages and their blocks.

use llmo_core::model::{Message, Role, ToolCall};
use serde::Deserialize;
use serde_json::Value;

use crate::dialect::object::Object;
use crate::dialect::text_or::TextOr;
use crate::fault::Fault;

/// A message as the client sent it.
#[derive(Debug, Deserialize)]
pub(super) struct WireMessage {
    role: String,
    #[serde(default)]
    content: Option<TextOr<Block>>,
}

/// A block; which fields it has depends on its type.
#[derive(Debug, Deserialize)]
pub(super) struct Block {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    input: Option<Value>,
    #[serde(default)]
    tool_use_id: Option<String>,
    #[serde(default)]
    content: Option<TextOr<Block>>,
    #[serde(default)]
    is_error: Option<bool>,
}

/// Translates a conversation; neighbours of one role become one message, as Anthropic does it.
pub(super) fn translate(system: Option<TextOr<Block>>, wire: Vec<Object<WireMessage>>) -> Result<Vec<Message>, Fault> {
    let mut messages = Vec::with_capacity(wire.len() + 1);
    if let Some(system) = system {
        let text = texts("system", system)?;
        if !text.is_empty() {
            messages.push(Message::system(text));
        }
    }
    let first = messages.len();
    if wire.is_empty() {
        return Err(Fault::invalid("messages", "must hold at least one message"));
    }
    for (i, Object(message)) in wire.into_iter().enumerate() {
        let param = format!("messages[{i}]");
        let content = message.content.ok_or_else(|| Fault::invalid(format!("{param}.content"), "is missing"))?;
        match message.role.as_str() {
            "user" => user(&param, content, &mut messages)?,
            "assistant" if messages.len() == first => {
                return Err(Fault::invalid(param, "the first message must be the user's"));
            }
            "assistant" => assistant(&param, content, &mut messages)?,
            "system" => {
                let why = "must be user or assistant; instructions go into the field system";
                return Err(Fault::invalid(format!("{param}.role"), why));
            }
            other => {
                let why = format!("must be user or assistant, not {other:?}");
                return Err(Fault::invalid(format!("{param}.role"), why));
            }
        }
    }
    if messages.last().is_some_and(|last| last.role == Role::Assistant) {
        let why = "the last message must not be the assistant's: it can't be continued";
        return Err(Fault::unsupported("messages", why));
    }
    Ok(messages)
}

/// Results of calls come before what the user says.
fn user(param: &str, content: TextOr<Block>, messages: &mut Vec<Message>) -> Result<(), Fault> {
    let blocks = match content {
        TextOr::Text(text) => return say(param, Role::User, text, messages),
        TextOr::Parts(blocks) => blocks,
    };
    let (mut said, mut results) = (Vec::new(), Vec::new());
    for (j, block) in blocks.into_iter().enumerate() {
        let param = format!("{param}.content[{j}]");
        match block.kind.as_str() {
            "tool_result" => results.push(result(&param, block, messages)?),
            _ => said.push(text(&param, block)?),
        }
    }
    let only_results = !results.is_empty() && said.is_empty();
    messages.extend(results);
    if only_results { Ok(()) } else { say(param, Role::User, said.join("\n"), messages) }
}

/// The result of a call that the last message made.
fn result(param: &str, block: Block, messages: &[Message]) -> Result<Message, Fault> {
    let id = block.tool_use_id.ok_or_else(|| Fault::invalid(format!("{param}.tool_use_id"), "is missing"))?;
    let caller = messages.iter().rev().find(|message| message.role != Role::Tool);
    let called = caller.and_then(|message| message.tool_calls.iter().find(|call| call.id == id));
    let Some(call) = called else {
        let why = "the message before has no tool_use block of this id";
        return Err(Fault::invalid(format!("{param}.tool_use_id"), why));
    };
    let text = block.content.map_or(Ok(String::new()), |content| texts(&format!("{param}.content"), content))?;
    let failed = block.is_error.unwrap_or(false);
    let mut message = Message::new(Role::Tool, if failed { format!("Error: {text}") } else { text });
    message.tool_call_id = Some(id);
    message.name = Some(call.name.clone());
    Ok(message)
}

fn assistant(param: &str, content: TextOr<Block>, messages: &mut Vec<Message>) -> Result<(), Fault> {
    let blocks = match content {
        TextOr::Text(text) => return say(param, Role::Assistant, text, messages),
        TextOr::Parts(blocks) => blocks,
    };
    let (mut said, mut calls) = (String::new(), Vec::new());
    for (j, block) in blocks.into_iter().enumerate() {
        let param = format!("{param}.content[{j}]");
        match block.kind.as_str() {
            "tool_use" => calls.push(call(&param, block)?),
            // What a model thought is not for the next turn.
            "thinking" | "redacted_thinking" => {}
            _ => said.push_str(&text(&param, block)?),
        }
    }
    if calls.is_empty() {
        return say(param, Role::Assistant, said, messages);
    }
    let mut message = Message::assistant(said);
    message.tool_calls = calls;
    messages.push(message);
    Ok(())
}

fn call(param: &str, block: Block) -> Result<ToolCall, Fault> {
    let missing = |field: &str| Fault::invalid(format!("{param}.{field}"), "is missing");
    let input = block.input.ok_or_else(|| missing("input"))?;
    if !input.is_object() {
        return Err(Fault::invalid(format!("{param}.input"), "must be an object"));
    }
    Ok(ToolCall::new(
        block.id.ok_or_else(|| missing("id"))?,
        block.name.ok_or_else(|| missing("name"))?,
        input.to_string(),
    ))
}

/// Adds to the last message, if that is of the same role and nothing but text.
fn say(param: &str, role: Role, text: String, messages: &mut Vec<Message>) -> Result<(), Fault> {
    if text.is_empty() {
        return Err(Fault::invalid(format!("{param}.content"), "must not be empty"));
    }
    match messages.last_mut() {
        Some(last) if last.role == role && last.tool_calls.is_empty() => {
            last.content.push_str("\n\n");
            last.content.push_str(&text);
        }
        _ => messages.push(Message::new(role, text)),
    }
    Ok(())
}

/// Text, or blocks of nothing but text.
fn texts(param: &str, content: TextOr<Block>) -> Result<String, Fault> {
    match content {
        TextOr::Text(text) => Ok(text),
        TextOr::Parts(blocks) => {
            let texts = blocks.into_iter().enumerate().map(|(j, block)| text(&format!("{param}[{j}]"), block));
            Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
        }
    }
}

fn text(param: &str, block: Block) -> Result<String, Fault> {
    match block.kind.as_str() {
        "text" => block.text.ok_or_else(|| Fault::invalid(format!("{param}.text"), "is missing")),
        "tool_use" | "tool_result" | "thinking" | "redacted_thinking" => {
            let why = format!("a block of type {:?} has no place here", block.kind);
            Err(Fault::invalid(format!("{param}.type"), why))
        }
        "image" => Err(Fault::unsupported(param, "this model reads text only, no images")),
        other => Err(Fault::unsupported(param, format!("blocks of type {other:?} are not supported, only text"))),
    }
}
