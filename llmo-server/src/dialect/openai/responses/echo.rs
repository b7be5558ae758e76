//! What an answer repeats of its request.

use serde_json::{Map, Value, json};

/// The request's settings, as the answer tells them.
#[derive(Debug, Clone, PartialEq)]
pub struct Echo(pub(super) Map<String, Value>);

impl Echo {
    /// From the fields of a request; what was left out has its default.
    pub(super) fn of(fields: &Map<String, Value>) -> Self {
        let defaults = [
            ("instructions", Value::Null),
            ("max_output_tokens", Value::Null),
            ("metadata", json!({})),
            ("parallel_tool_calls", json!(true)),
            ("temperature", json!(1.0)),
            ("text", json!({"format": {"type": "text"}})),
            ("tool_choice", json!("auto")),
            ("tools", json!([])),
            ("top_logprobs", json!(0)),
            ("top_p", json!(1.0)),
            ("truncation", json!("disabled")),
            ("user", Value::Null),
        ];
        let mut echo = Map::new();
        for (name, default) in defaults {
            let given = fields.get(name).filter(|value| !value.is_null());
            echo.insert(name.to_owned(), given.cloned().unwrap_or(default));
        }
        for (name, value) in [
            ("background", json!(false)),
            ("previous_response_id", Value::Null),
            ("reasoning", json!({"effort": null, "summary": null})),
            ("store", json!(false)),
        ] {
            echo.insert(name.to_owned(), value);
        }
        Self(echo)
    }
}
