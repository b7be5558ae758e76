//! Tools for models that were taught none: explained in words, in the conversation itself.

use serde_json::{Value, json};

use crate::model::{Message, Role, Tool, ToolChoice};

/// The conversation as a model without tools can read it: functions in the system message, calls and results as text.
#[must_use]
pub fn explain(messages: &[Message], tools: &[Tool], choice: &ToolChoice) -> Vec<Message> {
    let mut explained: Vec<Message> = messages.iter().map(as_text).collect();
    if tools.is_empty() || *choice == ToolChoice::None {
        return explained;
    }
    let words = words(tools, choice);
    match explained.first_mut() {
        Some(first) if first.role == Role::System => first.content = format!("{}\n\n{words}", first.content),
        _ => explained.insert(0, Message::system(words)),
    }
    explained
}

/// The same for a model whose template takes no system message: its content goes before the first question.
#[must_use]
pub fn without_system(mut messages: Vec<Message>) -> Vec<Message> {
    if messages.len() > 1 && messages[0].role == Role::System && messages[1].role == Role::User {
        let system = messages.remove(0);
        messages[0].content = format!("{}\n\n{}", system.content, messages[0].content);
    } else if messages.len() == 1 && messages[0].role == Role::System {
        messages[0].role = Role::User;
    }
    messages
}

fn words(tools: &[Tool], choice: &ToolChoice) -> String {
    let listed: Vec<String> = tools
        .iter()
        .filter(|tool| !matches!(choice, ToolChoice::Named(name) if *name != tool.name))
        .map(|tool| {
            let description = tool.description.as_deref().unwrap_or_default();
            json!({"name": tool.name, "description": description, "parameters": tool.parameters}).to_string()
        })
        .collect();
    let form = match choice {
        ToolChoice::Auto => {
            "Respond in JSON format: with {\"tool_call\": {\"name\": function name, \"arguments\": object}} to call a \
             function, or with {\"response\": text} to answer the user."
        }
        _ => {
            "Call a function now. Respond in JSON format: {\"tool_call\": {\"name\": function name, \"arguments\": \
             object}}."
        }
    };
    format!("You can call these functions:\n{}\n\n{form}", listed.join("\n"))
}

fn as_text(message: &Message) -> Message {
    match message.role {
        Role::Tool => {
            let mut result = json!({"tool_result": message.content});
            if let Some(name) = &message.name {
                result["name"] = Value::from(name.as_str());
            }
            Message::user(result.to_string())
        }
        Role::Assistant if !message.tool_calls.is_empty() => {
            let calls = message.tool_calls.iter().map(|call| {
                let arguments = serde_json::from_str(&call.arguments).unwrap_or(Value::from(call.arguments.as_str()));
                json!({"tool_call": {"name": call.name, "arguments": arguments}}).to_string()
            });
            let text = Some(message.content.clone()).filter(|content| !content.is_empty());
            Message::assistant(text.into_iter().chain(calls).collect::<Vec<_>>().join("\n"))
        }
        role => Message::new(role, message.content.clone()),
    }
}
