//! Fields that would change what comes out, and that we can't honour yet: refused, never ignored.

use serde::Deserialize;
use serde_json::Value;

use crate::fault::Fault;
use crate::http::json;

/// Constraints on the output, under the names that clients of several servers use. Read in a pass of its own: serde's
/// `flatten` would lose the place of mistakes in all other fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refused {
    response_format: Option<Value>,
    tools: Option<Value>,
    tool_choice: Option<Value>,
    functions: Option<Value>,
    function_call: Option<Value>,
    modalities: Option<Value>,
    audio: Option<Value>,
    grammar: Option<Value>,
    json_schema: Option<Value>,
    guided_json: Option<Value>,
    guided_regex: Option<Value>,
    guided_choice: Option<Value>,
    guided_grammar: Option<Value>,
    structured_outputs: Option<Value>,
    chat_template: Option<Value>,
}

/// Refuses a body with such a field, unless its value asks for nothing.
pub(super) fn check(body: &[u8]) -> Result<(), Fault> {
    let fields: Refused = json::parse(body)?;
    let format = fields.response_format.filter(|format| format["type"] != "text");
    let choice = fields.tool_choice.filter(|choice| choice != "none" && choice != "auto");
    let modalities = fields.modalities.filter(|modalities| *modalities != serde_json::json!(["text"]));
    let constrained = "output can't be constrained to a format yet";
    let tools = "tools are not supported yet";
    let cases = [
        ("response_format", format, constrained),
        ("tools", fields.tools, tools),
        ("tool_choice", choice, tools),
        ("functions", fields.functions, tools),
        ("function_call", fields.function_call.filter(|call| call != "none" && call != "auto"), tools),
        ("modalities", modalities, "only text can be generated"),
        ("audio", fields.audio, "only text can be generated"),
        ("grammar", fields.grammar, constrained),
        ("json_schema", fields.json_schema, constrained),
        ("guided_json", fields.guided_json, constrained),
        ("guided_regex", fields.guided_regex, constrained),
        ("guided_choice", fields.guided_choice, constrained),
        ("guided_grammar", fields.guided_grammar, constrained),
        ("structured_outputs", fields.structured_outputs, constrained),
        ("chat_template", fields.chat_template, "the model's own chat template is used, templates of clients are not"),
    ];
    match cases.into_iter().find(|(_, value, _)| value.as_ref().is_some_and(asks)) {
        Some((param, _, why)) => Err(Fault::unsupported(param, why)),
        None => Ok(()),
    }
}

/// Does a value ask for anything?
fn asks(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_is_never_ignored() {
        for bad in [
            r#"{"response_format": {"type": "json_object"}}"#,
            r#"{"response_format": {}}"#,
            r#"{"response_format": "json"}"#,
            r#"{"tools": [{"type": "function"}]}"#,
            r#"{"tool_choice": "required"}"#,
            r#"{"grammar": "root ::= x"}"#,
            r#"{"guided_json": {}}"#,
            r#"{"chat_template": "{{ x }}"}"#,
            r#"{"modalities": ["text", "audio"]}"#,
        ] {
            assert!(matches!(check(bad.as_bytes()), Err(Fault::Unsupported { .. })), "{bad}");
        }
    }

    #[test]
    fn what_asks_for_nothing_passes() {
        for good in [
            "{}",
            r#"{"response_format": {"type": "text"}, "tools": [], "tool_choice": "auto", "functions": null}"#,
            r#"{"modalities": ["text"], "grammar": "", "function_call": "none"}"#,
        ] {
            assert!(check(good.as_bytes()).is_ok(), "{good}");
        }
    }
}
