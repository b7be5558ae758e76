//! Messages of a chat: their roles, the forms of their content, their order.

use std::collections::HashMap;
use std::fmt;

use llmo_core::model::{Message, Role, ToolCall};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

use crate::fault::Fault;

/// A message as the client sent it.
#[derive(Debug, Deserialize)]
pub(super) struct WireMessage {
    role: String,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    tool_calls: Option<Vec<WireCall>>,
    #[serde(default)]
    tool_call_id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    /// The old form of `tool_calls`.
    #[serde(default)]
    function_call: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct WireCall {
    #[serde(default)]
    id: Option<String>,
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    function: Option<CalledFunction>,
}

#[derive(Debug, Deserialize)]
struct CalledFunction {
    name: String,
    /// Text that holds an object; some clients send the object itself.
    #[serde(default)]
    arguments: Value,
}

/// Text, or parts.
#[derive(Debug)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    image_url: Option<Value>,
}

/// Translates a conversation.
pub(super) fn translate(messages: Vec<WireMessage>) -> Result<Vec<Message>, Fault> {
    let mut translated: Vec<Message> =
        messages.into_iter().enumerate().map(|(i, message)| one(i, message)).collect::<Result<_, _>>()?;
    check_order(&translated)?;
    name_results(&mut translated);
    Ok(translated)
}

/// Gives each result the name of the function that was called: some templates want it, and clients send the id only.
fn name_results(messages: &mut [Message]) {
    let mut names: HashMap<String, String> = HashMap::new();
    for message in messages {
        names.extend(message.tool_calls.iter().map(|call| (call.id.clone(), call.name.clone())));
        if message.role == Role::Tool && message.name.is_none() {
            message.name = message.tool_call_id.as_ref().and_then(|id| names.get(id).cloned());
        }
    }
}

fn call(param: &str, wire: WireCall) -> Result<ToolCall, Fault> {
    if let Some(kind) = wire.kind.filter(|kind| kind != "function") {
        return Err(Fault::unsupported(format!("{param}.type"), format!("must be function, not {kind:?}")));
    }
    let function = wire.function.ok_or_else(|| Fault::invalid(format!("{param}.function"), "is missing"))?;
    let arguments = match function.arguments {
        Value::String(text) => text,
        Value::Null => "{}".to_owned(),
        other => other.to_string(),
    };
    Ok(ToolCall::new(wire.id.unwrap_or_default(), function.name, arguments))
}

fn one(i: usize, message: WireMessage) -> Result<Message, Fault> {
    let role = match message.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        other => {
            let known = "must be system, developer, user, assistant or tool";
            return Err(Fault::invalid(format!("messages[{i}].role"), format!("{known}, not {other:?}")));
        }
    };
    if message.function_call.is_some_and(|call| !call.is_null()) {
        return Err(Fault::unsupported(format!("messages[{i}].function_call"), "is the old name: use tool_calls"));
    }
    let calls = message.tool_calls.unwrap_or_default();
    if role != Role::Assistant && !calls.is_empty() {
        return Err(Fault::invalid(format!("messages[{i}].tool_calls"), "only the assistant calls tools"));
    }
    let content = match message.content {
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => joined(i, parts)?,
        None if !calls.is_empty() => String::new(),
        None => return Err(Fault::invalid(format!("messages[{i}].content"), "is missing")),
    };
    let mut translated = Message::new(role, content);
    let calls = calls.into_iter().enumerate();
    translated.tool_calls =
        calls.map(|(j, wire)| call(&format!("messages[{i}].tool_calls[{j}]"), wire)).collect::<Result<_, _>>()?;
    translated.tool_call_id = message.tool_call_id;
    translated.name = message.name;
    Ok(translated)
}

fn joined(i: usize, parts: Vec<Part>) -> Result<String, Fault> {
    let texts: Vec<String> =
        parts.into_iter().enumerate().map(|(j, part)| part_text(i, j, part)).collect::<Result<_, _>>()?;
    Ok(texts.join("\n"))
}

fn part_text(i: usize, j: usize, part: Part) -> Result<String, Fault> {
    let param = format!("messages[{i}].content[{j}]");
    match part.kind.as_str() {
        "text" => part.text.ok_or_else(|| Fault::invalid(format!("{param}.text"), "is missing")),
        "image_url" => {
            let url = part.image_url.unwrap_or_default();
            let url = url.as_str().or_else(|| url["url"].as_str()).unwrap_or_default();
            if !url.starts_with("data:") {
                let why = "must be a data: URL, as this server fetches nothing";
                return Err(Fault::invalid(format!("{param}.image_url"), why));
            }
            Err(Fault::unsupported(param, "this model reads text only, no images"))
        }
        other => Err(Fault::unsupported(param, format!("parts of type {other:?} are not supported, only text"))),
    }
}

/// Refuses orders that no chat template makes sense of.
fn check_order(messages: &[Message]) -> Result<(), Fault> {
    for (i, pair) in messages.windows(2).enumerate() {
        if pair[1].role == Role::Tool && !matches!(pair[0].role, Role::Assistant | Role::Tool) {
            let why = "a tool message must follow the assistant message that called the tool";
            return Err(Fault::invalid(format!("messages[{}]", i + 1), why));
        }
    }
    match (messages.first(), messages.last()) {
        (Some(first), _) if first.role == Role::Tool => {
            Err(Fault::invalid("messages[0]", "a conversation can't begin with a tool message"))
        }
        (_, Some(last)) if last.role == Role::Assistant => {
            let why = "the last message must not be the assistant's: it can't be continued";
            Err(Fault::invalid(format!("messages[{}]", messages.len() - 1), why))
        }
        _ => Ok(()),
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrParts;

        impl<'de> Visitor<'de> for TextOrParts {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of content parts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Content, A::Error> {
                let mut parts = Vec::new();
                while let Some(part) = seq.next_element()? {
                    parts.push(part);
                }
                Ok(Content::Parts(parts))
            }
        }

        deserializer.deserialize_any(TextOrParts)
    }
}
