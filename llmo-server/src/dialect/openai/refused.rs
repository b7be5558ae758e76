//! Fields that would change what comes out, and that we can't honour yet: refused, never ignored.

use serde::Deserialize;
use serde_json::Value;

use crate::fault::Fault;
use crate::http::json::Object;

/// Read in a pass of its own: serde's `flatten` would lose the place of mistakes in all other fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refused {
    functions: Option<Value>,
    function_call: Option<Value>,
    modalities: Option<Value>,
    audio: Option<Value>,
    chat_template: Option<Value>,
    chat_template_kwargs: Option<Value>,
}

/// Refuses a body with such a field, unless its value asks for nothing.
pub(super) fn check(body: &Object<'_>) -> Result<(), Fault> {
    let fields: Refused = body.read_rare()?;
    let modalities = fields.modalities.filter(|modalities| *modalities != serde_json::json!(["text"]));
    let arguments = fields.chat_template_kwargs.filter(|map| map.as_object().is_none_or(|map| !map.is_empty()));
    let cases = [
        ("functions", fields.functions, "is the old name: use tools"),
        (
            "function_call",
            fields.function_call.filter(|call| call != "none" && call != "auto"),
            "is the old name: use tool_choice",
        ),
        ("modalities", modalities, "only text can be generated"),
        ("audio", fields.audio, "only text can be generated"),
        ("chat_template", fields.chat_template, "the model's own chat template is used, templates of clients are not"),
        ("chat_template_kwargs", arguments, "arguments for the chat template are not taken from clients"),
    ];
    refuse(cases)
}

/// What a plain completion can't have besides.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OnlyChat {
    tools: Option<Value>,
    tool_choice: Option<Value>,
}

/// Refuses fields that only conversations have.
pub(super) fn check_completion(body: &Object<'_>) -> Result<(), Fault> {
    check(body)?;
    let fields: OnlyChat = body.read_rare()?;
    let choice = fields.tool_choice.filter(|choice| choice != "none" && choice != "auto");
    let why = "functions can be called in a chat only";
    refuse([("tools", fields.tools, why), ("tool_choice", choice, why)])
}

fn refuse<const N: usize>(cases: [(&str, Option<Value>, &str); N]) -> Result<(), Fault> {
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

    fn object(body: &str) -> Object<'_> {
        Object::new(body.as_bytes()).unwrap()
    }

    #[test]
    fn what_would_change_the_output_is_never_ignored() {
        for bad in [
            r#"{"functions": [{"name": "f"}]}"#,
            r#"{"function_call": {"name": "f"}}"#,
            r#"{"chat_template": "{{ x }}"}"#,
            r#"{"chat_template_kwargs": {"x": 1}}"#,
            r#"{"modalities": ["text", "audio"]}"#,
        ] {
            assert!(matches!(check(&object(bad)), Err(Fault::Unsupported { .. })), "{bad}");
        }
        for bad in [r#"{"tools": [{"type": "function"}]}"#, r#"{"tool_choice": "required"}"#] {
            assert!(matches!(check_completion(&object(bad)), Err(Fault::Unsupported { .. })), "{bad}");
        }
    }

    #[test]
    fn what_asks_for_nothing_passes() {
        for good in [
            "{}",
            r#"{"tools": [], "tool_choice": "auto", "functions": null, "chat_template_kwargs": {}}"#,
            r#"{"modalities": ["text"], "function_call": "none"}"#,
        ] {
            assert!(check_completion(&object(good)).is_ok(), "{good}");
        }
    }
}
