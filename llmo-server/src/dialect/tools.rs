//! Functions and their calls, as far as dialects treat them alike.

use llmo_core::model::{Tool, ToolCall, ToolCallDelta};
use serde_json::{Value, json};

use crate::fault::Fault;

/// Most functions of one request.
const MAX_TOOLS: usize = 128;
/// Longest name of a function.
const MAX_NAME: usize = 64;

/// A function as the client described it; `param` is where.
pub(super) fn tool(
    param: &str,
    name: Option<String>,
    description: Option<String>,
    parameters: Option<Value>,
) -> Result<Tool, Fault> {
    let name = name.ok_or_else(|| Fault::invalid(format!("{param}.name"), "is missing"))?;
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(harmless) {
        let why = format!("must be 1 to {MAX_NAME} letters, digits, or _ - .");
        return Err(Fault::invalid(format!("{param}.name"), why));
    }
    let parameters = match parameters {
        None | Some(Value::Null) => json!({"type": "object", "properties": {}}),
        Some(schema @ Value::Object(_)) => schema,
        Some(_) => return Err(Fault::invalid(param, "the schema of its arguments must be an object")),
    };
    let mut tool = Tool::new(name, parameters);
    tool.description = description;
    Ok(tool)
}

/// Refuses too many functions, two of one name, and a choice that is not among them.
pub(super) fn check(param: &str, tools: &[Tool], chosen: Option<&str>) -> Result<(), Fault> {
    if tools.len() > MAX_TOOLS {
        return Err(Fault::invalid(param, format!("at most {MAX_TOOLS}, got {}", tools.len())));
    }
    for (i, tool) in tools.iter().enumerate() {
        if tools[..i].iter().any(|other| other.name == tool.name) {
            return Err(Fault::invalid(format!("{param}[{i}]"), format!("{:?} is there twice", tool.name)));
        }
    }
    match chosen {
        Some(name) if !tools.iter().any(|tool| tool.name == name) => {
            Err(Fault::invalid("tool_choice", format!("{name:?} is not among the tools")))
        }
        _ => Ok(()),
    }
}

/// The calls that pieces make together.
pub(super) fn calls(pieces: &[ToolCallDelta]) -> Vec<ToolCall> {
    let mut calls: Vec<(u32, ToolCall)> = Vec::new();
    for piece in pieces {
        let place = calls.iter().position(|(index, _)| *index == piece.index).unwrap_or_else(|| {
            calls.push((piece.index, ToolCall::new("", "", "")));
            calls.len() - 1
        });
        let call = &mut calls[place].1;
        if let Some(id) = &piece.id {
            call.id.clone_from(id);
        }
        if let Some(name) = &piece.name {
            call.name.clone_from(name);
        }
        call.arguments.push_str(&piece.arguments);
    }
    calls.into_iter().map(|(_, call)| call).collect()
}

/// The arguments of a call as an object. What was cut off before it was JSON is told under a name of its own, and not
/// as if the model had given no arguments.
pub(super) fn arguments(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Value::Object(object),
        _ if text.trim().is_empty() => json!({}),
        _ => json!({"_incomplete": text}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_interleaved_calls_come_together() {
        let mut pieces = vec![ToolCallDelta::first(0, "a", "f"), ToolCallDelta::first(1, "b", "g")];
        pieces.extend([
            ToolCallDelta::arguments(1, "{}"),
            ToolCallDelta::arguments(0, "{\"x\""),
            ToolCallDelta::arguments(0, ":1}"),
        ]);
        assert_eq!(calls(&pieces), [ToolCall::new("a", "f", "{\"x\":1}"), ToolCall::new("b", "g", "{}")]);
    }

    #[test]
    fn arguments_that_were_cut_off_are_not_taken_for_none() {
        assert_eq!(arguments("{\"x\":1}"), json!({"x": 1}));
        assert_eq!(arguments(""), json!({}));
        assert_eq!(arguments("{\"x\":"), json!({"_incomplete": "{\"x\":"}));
    }

    #[test]
    fn names_that_could_break_a_grammar_are_refused() {
        assert!(tool("tools[0]", Some("get_weather.v2-x".into()), None, None).is_ok());
        for bad in ["", "a b", "a\"", "é", &"x".repeat(65)] {
            assert!(tool("tools[0]", Some(bad.into()), None, None).is_err(), "{bad}");
        }
        assert!(tool("tools[0]", None, None, None).is_err());
        assert!(tool("tools[0]", Some("f".into()), None, Some(json!([]))).is_err());
    }
}
