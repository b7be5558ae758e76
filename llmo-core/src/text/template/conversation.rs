//! What a template is given.

use minijinja::value::Value;
use serde::Deserialize;
use serde_json::{Map, json};

use crate::model::{Message, Tool};

/// A conversation to render.
///
/// ```
/// use llmo_core::model::{Message, Tool};
/// use llmo_core::text::{ChatTemplate, Conversation};
///
/// let template = ChatTemplate::compile("{{ tools[0].function.name }}: {{ messages[0].content }}", "", "")?;
/// let tools = [Tool::new("weather", serde_json::json!({"type": "object"}))];
/// let messages = [Message::user("Hi")];
/// assert_eq!(template.render_conversation(&Conversation::new(&messages).tools(&tools))?, "weather: Hi");
/// # Ok::<(), llmo_core::text::TemplateError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Conversation<'a> {
    /// What was said.
    pub messages: &'a [Message],
    /// Functions that the model may call.
    pub tools: &'a [Tool],
    /// End where the model's answer begins.
    pub add_generation_prompt: bool,
}

impl<'a> Conversation<'a> {
    /// A conversation without functions, up to its last message.
    #[must_use]
    pub fn new(messages: &'a [Message]) -> Self {
        Self { messages, tools: &[], add_generation_prompt: false }
    }

    /// With these functions.
    #[must_use]
    pub fn tools(mut self, tools: &'a [Tool]) -> Self {
        self.tools = tools;
        self
    }

    /// Up to where the model's answer begins.
    #[must_use]
    pub fn generation_prompt(mut self, wanted: bool) -> Self {
        self.add_generation_prompt = wanted;
        self
    }

    /// Bytes of all texts.
    pub(super) fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.content.len()).sum::<usize>() + self.json_bytes()
    }

    /// Bytes of what templates write as JSON.
    pub(super) fn json_bytes(&self) -> usize {
        let calls = self.messages.iter().flat_map(|message| &message.tool_calls);
        let calls: usize = calls.map(|call| call.arguments.len() + call.name.len() + 64).sum();
        // Some templates indent.
        let tools = self.tools.iter().map(|tool| {
            let description = tool.description.as_ref().map_or(0, String::len);
            4 * (tool.parameters.to_string().len() + description + tool.name.len() + 64)
        });
        calls + tools.sum::<usize>()
    }

    /// Messages as transformers gives them: keys only where there is something, calls with their arguments as objects.
    pub(super) fn messages_value(&self) -> Value {
        self.messages.iter().map(message_value).collect()
    }

    /// Functions in OpenAI's form; none where there are none.
    pub(super) fn tools_value(&self) -> Value {
        if self.tools.is_empty() {
            return Value::from(());
        }
        let tools = self.tools.iter().map(|tool| {
            let mut function = Map::new();
            function.insert("name".into(), json!(tool.name));
            function.insert("description".into(), json!(tool.description.as_deref().unwrap_or_default()));
            function.insert("parameters".into(), tool.parameters.clone());
            value(json!({"type": "function", "function": function}))
        });
        tools.collect()
    }
}

fn message_value(message: &Message) -> Value {
    let mut map = Map::new();
    map.insert("role".into(), message.role.as_str().into());
    map.insert("content".into(), message.content.as_str().into());
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| {
            let arguments = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!(call.arguments));
            json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
        });
        map.insert("tool_calls".into(), calls.collect());
    }
    if let Some(id) = &message.tool_call_id {
        map.insert("tool_call_id".into(), id.as_str().into());
    }
    if let Some(name) = &message.name {
        map.insert("name".into(), name.as_str().into());
    }
    value(serde_json::Value::Object(map))
}

fn value(json: serde_json::Value) -> Value {
    // All JSON is a value.
    Value::deserialize(json).unwrap_or_default()
}
