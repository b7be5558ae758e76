//! Grammars of calls, in llguidance's Lark.

use std::fmt::Write;

use serde_json::{Value, json};

use super::ToolFormat;
use crate::model::{Constraint, TokenId, Tool, ToolChoice};

/// White space in arguments: as in other constrained JSON.
const WHITESPACE: &str = r"[ ]|\n[ \t]{0,20}";
/// Most calls of one answer that is held to calls.
const MOST_CALLS: u32 = 16;

/// What the output is held to, if it is: where a function must be called, and everywhere for models that were taught no
/// form.
///
/// `answer` is the constraint of answers that call nothing, as JSON; `control` gives the ids of marks that are control
/// tokens.
#[must_use]
pub fn constraint(
    format: ToolFormat,
    tools: &[Tool],
    choice: &ToolChoice,
    parallel: bool,
    answer: Option<&Value>,
    control: &[(String, TokenId)],
) -> Option<Constraint> {
    let must = matches!(choice, ToolChoice::Required | ToolChoice::Named(_));
    if !must && format.is_native() && answer.is_none() {
        return None;
    }
    let mark = |text: &str| {
        let control = control.iter().find(|(mark, _)| mark == text);
        control.map_or_else(|| Value::from(text).to_string(), |(_, token)| format!("<[{token}]>"))
    };
    let more = if parallel { MOST_CALLS - 1 } else { 0 };
    let several = |separator: &str| if more == 0 { String::new() } else { format!(" ({separator} call){{0,{more}}}") };
    let calls = match format {
        ToolFormat::Hermes => {
            let one = format!("{} \"\\n\" function \"\\n\" {}", mark("<tool_call>"), mark("</tool_call>"));
            format!("calls: call{}\ncall: {one}\n", several("\"\\n\""))
        }
        ToolFormat::Llama3 => format!("calls: call{}\ncall: function\n", several("\"; \"")),
        ToolFormat::Mistral => {
            format!("calls: {} \"[\" call{} \"]\"\ncall: function\n", mark("[TOOL_CALLS]"), several("\", \""))
        }
        ToolFormat::Generic => "calls: \"{\\\"tool_call\\\": \" function \"}\"\n".to_owned(),
    };
    let mut lark = String::from(if must { "start: calls\n" } else { "start: calls | answer\n" });
    lark.push_str(&calls);
    if !must {
        let answer = answer.cloned().unwrap_or_else(|| json!({"type": "string"}));
        let answer = with_whitespace(answer);
        let _ = match format {
            ToolFormat::Generic => writeln!(lark, "answer: \"{{\\\"response\\\": \" %json {answer} \"}}\""),
            _ => writeln!(lark, "answer: %json {answer}"),
        };
    }
    let callable = tools.iter().filter(|tool| !matches!(choice, ToolChoice::Named(name) if *name != tool.name));
    let callable: Vec<&Tool> = callable.collect();
    let names: Vec<String> = (0..callable.len()).map(|i| format!("f{i}")).collect();
    let _ = writeln!(lark, "function: {}", names.join(" | "));
    for (name, tool) in names.iter().zip(callable) {
        let begin = format!("{{\"name\": {}, \"{}\": ", Value::from(tool.name.as_str()), format.arguments_key());
        let parameters = with_whitespace(as_object(&tool.parameters));
        let _ = writeln!(lark, "{name}: {} %json {parameters} \"}}\"", Value::from(begin));
    }
    Some(Constraint::Lark(lark))
}

/// Arguments are an object, whatever the schema says.
fn as_object(parameters: &Value) -> Value {
    match parameters {
        Value::Object(map) if !map.is_empty() => {
            let mut map = map.clone();
            map.entry("type").or_insert_with(|| "object".into());
            Value::Object(map)
        }
        _ => json!({"type": "object", "properties": {}, "additionalProperties": false}),
    }
}

fn with_whitespace(mut schema: Value) -> Value {
    if let Value::Object(map) = &mut schema {
        map.entry("x-guidance").or_insert_with(|| json!({"whitespace_pattern": WHITESPACE}));
    }
    schema
}
