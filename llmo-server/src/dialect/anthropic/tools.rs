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
    input_schema: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireChoice {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

/// Sets them on a request.
pub(super) fn apply(
    wire: Vec<WireTool>,
    choice: Option<WireChoice>,
    request: &mut GenerateRequest,
) -> Result<(), Fault> {
    for (i, tool) in wire.into_iter().enumerate() {
        let param = format!("tools[{i}]");
        if let Some(kind) = tool.kind.filter(|kind| kind != "custom") {
            let why = format!("{kind:?} would run on Anthropic's servers; only functions of your own can be had here");
            return Err(Fault::unsupported(format!("{param}.type"), why));
        }
        if !tool.input_schema.as_ref().is_some_and(Value::is_object) {
            return Err(Fault::invalid(format!("{param}.input_schema"), "must be a JSON schema, an object"));
        }
        request.tools.push(tools::tool(&param, tool.name, tool.description, tool.input_schema)?);
    }
    let choice = choice.unwrap_or_default();
    request.parallel_tool_calls = !choice.disable_parallel_tool_use.unwrap_or(false);
    request.tool_choice = match choice.kind.as_deref() {
        None | Some("auto") => ToolChoice::Auto,
        Some("none") => ToolChoice::None,
        Some("any") => ToolChoice::Required,
        Some("tool") => match choice.name {
            Some(name) => ToolChoice::Named(name),
            None => return Err(Fault::invalid("tool_choice.name", "is missing")),
        },
        Some(other) => {
            let why = format!("must be auto, any, tool or none, not {other:?}");
            return Err(Fault::invalid("tool_choice.type", why));
        }
    };
    if request.tools.is_empty() && request.tool_choice == ToolChoice::Required {
        return Err(Fault::invalid("tool_choice", "needs tools"));
    }
    let named = match &request.tool_choice {
        ToolChoice::Named(name) => Some(name.as_str()),
        _ => None,
    };
    tools::check("tools", &request.tools, named)
}
