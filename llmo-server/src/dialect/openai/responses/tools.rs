//! `tools` and `tool_choice`.

use llmo_core::GenerateRequest;
use llmo_core::model::ToolChoice;
use serde::Deserialize;
use serde_json::Value;

use crate::dialect::tools;
use crate::fault::Fault;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireTool {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    description: Option<String>,
    parameters: Option<Value>,
}

/// Sets them on a request.
pub(super) fn apply(wire: Vec<WireTool>, choice: Option<&Value>, request: &mut GenerateRequest) -> Result<(), Fault> {
    for (i, tool) in wire.into_iter().enumerate() {
        let param = format!("tools[{i}]");
        match tool.kind.as_deref() {
            Some("function") => {}
            Some(other) => {
                let why = format!("{other:?} would run on OpenAI's servers; only functions can be had here");
                return Err(Fault::unsupported(format!("{param}.type"), why));
            }
            None => return Err(Fault::invalid(format!("{param}.type"), "is missing")),
        }
        request.tools.push(tools::tool(&param, tool.name, tool.description, tool.parameters)?);
    }
    request.tool_choice = choice.map_or(Ok(ToolChoice::Auto), read_choice)?;
    if request.tools.is_empty() && request.tool_choice == ToolChoice::Required {
        return Err(Fault::invalid("tool_choice", "needs tools"));
    }
    let named = match &request.tool_choice {
        ToolChoice::Named(name) => Some(name.as_str()),
        _ => None,
    };
    tools::check("tools", &request.tools, named)
}

fn read_choice(choice: &Value) -> Result<ToolChoice, Fault> {
    match choice {
        Value::Null => Ok(ToolChoice::Auto),
        Value::String(text) => match text.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => {
                Err(Fault::invalid("tool_choice", format!("must be auto, none, required or a function, not {text:?}")))
            }
        },
        Value::Object(_) if choice["type"] == "function" => match choice["name"].as_str() {
            Some(name) => Ok(ToolChoice::Named(name.to_owned())),
            None => Err(Fault::invalid("tool_choice.name", "is missing")),
        },
        Value::Object(_) => Err(Fault::unsupported("tool_choice.type", "must be function")),
        _ => Err(Fault::invalid("tool_choice", "must be a string or an object")),
    }
}
