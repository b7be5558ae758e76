//! `input`: text, or items of a conversation.

use llmo_core::model::{Message, Role, ToolCall};
use serde::Deserialize;
use serde_json::Value;

use crate::dialect::conversation;
use crate::dialect::object::Object;
use crate::dialect::text_or::TextOr;
use crate::fault::Fault;

/// An item; which fields it has depends on its type.
#[derive(Debug, Deserialize)]
pub(super) struct Item {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    content: Option<TextOr<Part>>,
    #[serde(default)]
    call_id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
    #[serde(default)]
    output: Option<TextOr<Part>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Part {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    image_url: Option<Value>,
}

/// Translates instructions and input into a conversation.
pub(super) fn translate(instructions: Option<String>, input: TextOr<Object<Item>>) -> Result<Vec<Message>, Fault> {
    let mut messages: Vec<Message> =
        instructions.filter(|text| !text.is_empty()).map(Message::system).into_iter().collect();
    let first = messages.len();
    match input {
        TextOr::Text(text) if text.is_empty() => return Err(Fault::invalid("input", "must not be empty")),
        TextOr::Text(text) => messages.push(Message::user(text)),
        TextOr::Parts(items) if items.is_empty() => return Err(Fault::invalid("input", "must not be empty")),
        TextOr::Parts(items) => {
            for (i, Object(item)) in items.into_iter().enumerate() {
                one(&format!("input[{i}]"), item, &mut messages)?;
            }
        }
    }
    if messages.len() == first {
        return Err(Fault::invalid("input", "must hold a message"));
    }
    conversation::check_order("input", &messages[first..])?;
    Ok(messages)
}

fn one(param: &str, item: Item, messages: &mut Vec<Message>) -> Result<(), Fault> {
    let missing = |field: &str| Fault::invalid(format!("{param}.{field}"), "is missing");
    match item.kind.as_deref() {
        None | Some("message") => {
            let role = item.role.ok_or_else(|| missing("role"))?;
            let role = match role.as_str() {
                "system" | "developer" => Role::System,
                "user" => Role::User,
                "assistant" => Role::Assistant,
                other => {
                    let why = format!("must be system, developer, user or assistant, not {other:?}");
                    return Err(Fault::invalid(format!("{param}.role"), why));
                }
            };
            let content = texts(&format!("{param}.content"), item.content.ok_or_else(|| missing("content"))?)?;
            messages.push(Message::new(role, content));
        }
        Some("function_call") => {
            let call = ToolCall::new(
                item.call_id.ok_or_else(|| missing("call_id"))?,
                item.name.ok_or_else(|| missing("name"))?,
                item.arguments.ok_or_else(|| missing("arguments"))?,
            );
            // Calls and text of one turn are items of their own here, and one message to a model.
            match messages.last_mut() {
                Some(last) if last.role == Role::Assistant => last.tool_calls.push(call),
                _ => {
                    let mut message = Message::assistant("");
                    message.tool_calls.push(call);
                    messages.push(message);
                }
            }
        }
        Some("function_call_output") => {
            let id = item.call_id.ok_or_else(|| missing("call_id"))?;
            let calls = messages.iter().rev().flat_map(|message| &message.tool_calls);
            let Some(name) = calls.into_iter().find(|call| call.id == id).map(|call| call.name.clone()) else {
                let why = "no function_call before it has this id";
                return Err(Fault::invalid(format!("{param}.call_id"), why));
            };
            let output = texts(&format!("{param}.output"), item.output.ok_or_else(|| missing("output"))?)?;
            let mut message = Message::new(Role::Tool, output);
            message.tool_call_id = Some(id);
            message.name = Some(name);
            messages.push(message);
        }
        // What a model thought is not for the next turn.
        Some("reasoning") => {}
        Some("item_reference") => {
            return Err(Fault::unsupported(param, "nothing is stored here: send the item itself"));
        }
        Some(other) => {
            return Err(Fault::unsupported(format!("{param}.type"), format!("items of type {other:?} can't be had")));
        }
    }
    Ok(())
}

/// Text, or parts of nothing but text.
fn texts(param: &str, content: TextOr<Part>) -> Result<String, Fault> {
    match content {
        TextOr::Text(text) => Ok(text),
        TextOr::Parts(parts) => {
            let texts = parts.into_iter().enumerate().map(|(j, part)| text(&format!("{param}[{j}]"), part));
            Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
        }
    }
}

fn text(param: &str, part: Part) -> Result<String, Fault> {
    match part.kind.as_str() {
        "input_text" | "output_text" | "text" | "refusal" => {
            part.text.ok_or_else(|| Fault::invalid(format!("{param}.text"), "is missing"))
        }
        "input_image" => {
            let url = part.image_url.unwrap_or_default();
            if !url.as_str().unwrap_or_default().starts_with("data:") {
                let why = "must be a data: URL, as this server fetches nothing";
                return Err(Fault::invalid(format!("{param}.image_url"), why));
            }
            Err(Fault::unsupported(param, "this model reads text only, no images"))
        }
        other => Err(Fault::unsupported(param, format!("parts of type {other:?} are not supported, only text"))),
    }
}
