//! Functions that a model may ask its caller to call.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ModelError, Result};

/// Most functions of one request, as OpenAI has it.
pub const MAX_TOOLS: usize = 128;
/// Longest name of a function, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tool {
    /// Its name: letters, digits, `_`, `-` and `.`, at most 64.
    pub name: String,
    /// When and how to use it, for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON schema of its arguments, an object.
    pub parameters: Value,
}

impl Tool {
    /// A function with these arguments.
    #[must_use]
    pub fn new(name: impl Into<String>, parameters: Value) -> Self {
        Self { name: name.into(), description: None, parameters }
    }
}

/// Must the model call a function?
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolChoice {
    /// It may.
    #[default]
    Auto,
    /// It must not.
    None,
    /// It must call one or more.
    Required,
    /// It must call this one.
    Named(String),
}

/// A call that the model made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolCall {
    /// Connects the call with its result; unique in a conversation.
    pub id: String,
    /// The function.
    pub name: String,
    /// Its arguments, a JSON object as text.
    pub arguments: String,
}

impl ToolCall {
    /// A call of a function.
    #[must_use]
    pub fn new(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), arguments: arguments.into() }
    }
}

/// A piece of a call. The first piece of each call has its id and its name; the arguments of all pieces together are
/// the call's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolCallDelta {
    /// Which call of the answer, from 0.
    pub index: u32,
    /// With the first piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// With the first piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// More of the arguments.
    #[serde(default)]
    pub arguments: String,
}

impl ToolCallDelta {
    /// The first piece of a call.
    #[must_use]
    pub fn first(index: u32, id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { index, id: Some(id.into()), name: Some(name.into()), arguments: String::new() }
    }

    /// More arguments.
    #[must_use]
    pub fn arguments(index: u32, arguments: impl Into<String>) -> Self {
        Self { index, arguments: arguments.into(), ..Self::default() }
    }
}

/// Checks functions and the choice among them.
///
/// # Errors
/// [`ModelError::InvalidRequest`], naming the function.
pub(super) fn validate(tools: &[Tool], choice: &ToolChoice) -> Result<()> {
    if tools.len() > MAX_TOOLS {
        return Err(ModelError::invalid("tools", format!("at most {MAX_TOOLS}, got {}", tools.len())));
    }
    let mut names = std::collections::HashSet::new();
    for (i, tool) in tools.iter().enumerate() {
        let param = format!("tools[{i}].function.name");
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"_-.".contains(&c);
        if tool.name.is_empty() || tool.name.len() > MAX_NAME_BYTES || !tool.name.bytes().all(is_plain) {
            let message = format!("must have 1 to {MAX_NAME_BYTES} letters, digits, _, - and .; got {:?}", tool.name);
            return Err(ModelError::invalid(param, message));
        }
        if !names.insert(tool.name.as_str()) {
            return Err(ModelError::invalid(param, format!("there are two functions called {:?}", tool.name)));
        }
    }
    match choice {
        ToolChoice::Required if tools.is_empty() => Err(ModelError::invalid("tool_choice", "there are no tools")),
        ToolChoice::Named(name) if !names.contains(name.as_str()) => {
            Err(ModelError::invalid("tool_choice", format!("there is no function {name:?} among the tools")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_names_that_every_model_can_write() {
        let tool = |name: &str| Tool::new(name, Value::Null);
        let valid = |tools: &[Tool], choice| validate(tools, &choice).is_ok();
        assert!(valid(&[tool("get_weather-2.x")], ToolChoice::Named("get_weather-2.x".into())));
        for bad in ["", "a b", "ä", "a\"b", &"x".repeat(65)] {
            assert!(!valid(&[tool(bad)], ToolChoice::Auto), "{bad:?}");
        }
        assert!(!valid(&[tool("f"), tool("f")], ToolChoice::Auto));
        assert!(!valid(&[], ToolChoice::Required));
        assert!(!valid(&[tool("f")], ToolChoice::Named("g".into())));
        assert!(!valid(&vec![tool("f"); 129], ToolChoice::Auto));
    }
}
