//! `tools` and `tool_choice` of a request.

use llmo_core::GenerateRequest;
use llmo_core::model::{Tool, ToolChoice};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fault::Fault;

/// An element of `tools`.
#[derive(Debug, Deserialize)]
pub(super) struct WireTool {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    function: Option<WireFunction>,
}

#[derive(Debug, Deserialize)]
struct WireFunction {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Option<Value>,
}

/// Sets them on a request.
pub(super) fn apply(
    request: &mut GenerateRequest,
    tools: Option<Vec<WireTool>>,
    choice: Option<Value>,
    parallel: Option<bool>,
) -> Result<(), Fault> {
    let tools = tools.unwrap_or_default().into_iter().enumerate();
    request.tools = tools.map(|(i, tool)| one(i, tool)).collect::<Result<_, _>>()?;
    request.tool_choice = tool_choice(choice.unwrap_or_default())?;
    request.parallel_tool_calls = parallel.unwrap_or(true);
    Ok(())
}

fn one(i: usize, wire: WireTool) -> Result<Tool, Fault> {
    match wire.kind.as_deref() {
        None | Some("function") => {}
        Some(other) => {
            let param = format!("tools[{i}].type");
            return Err(Fault::unsupported(param, format!("only functions can be offered, not {other:?}")));
        }
    }
    let function = wire.function.ok_or_else(|| Fault::invalid(format!("tools[{i}].function"), "is missing"))?;
    let none = || json!({"type": "object", "properties": {}});
    let parameters = function.parameters.filter(|schema| !schema.is_null()).unwrap_or_else(none);
    if !parameters.is_object() {
        return Err(Fault::invalid(format!("tools[{i}].function.parameters"), "must be a JSON schema, an object"));
    }
    let mut tool = Tool::new(function.name, parameters);
    tool.description = function.description;
    Ok(tool)
}

fn tool_choice(choice: Value) -> Result<ToolChoice, Fault> {
    match &choice {
        Value::Null => Ok(ToolChoice::Auto),
        Value::String(word) => match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" | "any" => Ok(ToolChoice::Required),
            other => {
                let known = "must be auto, none, required or a function";
                Err(Fault::invalid("tool_choice", format!("{known}, not {other:?}")))
            }
        },
        choice if choice["type"] == "function" => match choice["function"]["name"].as_str() {
            Some(name) => Ok(ToolChoice::Named(name.to_owned())),
            None => Err(Fault::invalid("tool_choice.function.name", "is missing")),
        },
        choice => match choice["type"].as_str() {
            Some(kind) => Err(Fault::unsupported("tool_choice.type", format!("must be function, not {kind:?}"))),
            None => Err(Fault::invalid("tool_choice", "must be auto, none, required or a function")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read() {
        let named = json!({"type": "function", "function": {"name": "f"}});
        assert_eq!(tool_choice(named).unwrap(), ToolChoice::Named("f".into()));
        assert_eq!(tool_choice(json!("required")).unwrap(), ToolChoice::Required);
        assert_eq!(tool_choice(Value::Null).unwrap(), ToolChoice::Auto);
        for bad in [json!("sometimes"), json!({"type": "function"}), json!({"type": "allowed_tools"}), json!(1)] {
            assert!(tool_choice(bad.clone()).is_err(), "{bad}");
        }
    }
}
