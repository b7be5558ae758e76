//! Structured output: the fields in which OpenAI's, vLLM's and llama-server's clients ask for it.
//!
//! Read in a pass of its own, as chat and completions have all of them in common: serde's `flatten` would lose the place
//! of mistakes in all other fields.

use llmo_core::ModelError;
use llmo_core::model::Constraint;
use serde::Deserialize;
use serde_json::Value;

use crate::fault::Fault;
use crate::http::json::{self, Object};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire {
    response_format: Option<ResponseFormat>,
    json_schema: Option<Value>,
    grammar: Option<String>,
    guided_json: Option<Value>,
    guided_regex: Option<String>,
    guided_choice: Option<Vec<String>>,
    guided_grammar: Option<String>,
    guided_json_object: Option<bool>,
    structured_outputs: Option<Structured>,
}

#[derive(Debug, Deserialize)]
struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    json_schema: Option<NamedSchema>,
    /// llama-server's place for it.
    #[serde(default)]
    schema: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct NamedSchema {
    #[serde(default)]
    schema: Option<Value>,
}

/// vLLM's `structured_outputs`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Structured {
    json: Option<Value>,
    regex: Option<String>,
    choice: Option<Vec<String>>,
    grammar: Option<String>,
    json_object: Option<bool>,
    structural_tag: Option<Value>,
    /// A grammar that is Lark for certain; what gateways send.
    lark: Option<String>,
}

/// What the output of this request must look like.
///
/// # Errors
/// [`Fault`] naming the field: one that is malformed, or a second one.
pub(super) fn constraint(body: &Object<'_>) -> Result<Option<Constraint>, Fault> {
    Ok(found(body)?.map(|(_, constraint)| constraint))
}

/// The same fault, naming the field of this request that it is about. Models don't know which one it was.
#[must_use]
pub(crate) fn named(fault: Fault, body: &[u8]) -> Fault {
    match fault {
        Fault::Model(ModelError::InvalidRequest { param, message }) if param == "constraint" => {
            let field = found_in(body).map_or("constraint", |(field, _)| field);
            Fault::invalid(field, message)
        }
        Fault::Model(error @ ModelError::Unsupported { .. })
            if error.to_string().contains("constraints on the output") =>
        {
            match found_in(body) {
                Some((field, _)) => Fault::unsupported(field, error.to_string()),
                None => Fault::unsupported("tool_choice", error.to_string()),
            }
        }
        other => other,
    }
}

fn found_in(body: &[u8]) -> Option<(&'static str, Constraint)> {
    found(&Object::new(body).ok()?).ok().flatten()
}

fn found(body: &Object<'_>) -> Result<Option<(&'static str, Constraint)>, Fault> {
    let wire: Wire = body.read_rare()?;
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    let is_true = |wanted: Option<bool>| wanted == Some(true);
    let mut found: Vec<(&'static str, Constraint)> = Vec::new();
    if let Some(format) = wire.response_format {
        found.extend(response_format(format)?.map(|constraint| ("response_format", constraint)));
    }
    if let Some(schema) = given(wire.json_schema) {
        found.push(("json_schema", Constraint::JsonSchema(schema)));
    }
    found.extend(text(wire.grammar).map(|grammar| ("grammar", Constraint::Gbnf(grammar))));
    if let Some(schema) = given(wire.guided_json) {
        found.push(("guided_json", Constraint::JsonSchema(parsed("guided_json", schema)?)));
    }
    found.extend(text(wire.guided_regex).map(|regex| ("guided_regex", Constraint::Regex(regex))));
    found.extend(wire.guided_choice.map(|choice| ("guided_choice", Constraint::Choice(choice))));
    found.extend(text(wire.guided_grammar).map(|grammar| ("guided_grammar", either_grammar(grammar))));
    found.extend(is_true(wire.guided_json_object).then_some(("guided_json_object", Constraint::JsonObject)));
    if let Some(structured) = wire.structured_outputs {
        found.extend(structured_outputs(structured)?.map(|constraint| ("structured_outputs", constraint)));
    }
    match &found[..] {
        [(first, _), (second, _), ..] => {
            Err(Fault::invalid(*second, format!("the output can't be held to this and to {first} at once")))
        }
        _ => Ok(found.pop()),
    }
}

fn response_format(format: ResponseFormat) -> Result<Option<Constraint>, Fault> {
    match format.kind.as_str() {
        "text" => Ok(None),
        "json_object" => Ok(Some(given(format.schema).map_or(Constraint::JsonObject, Constraint::JsonSchema))),
        "json_schema" => {
            let schema = format.json_schema.and_then(|named| named.schema).or(format.schema);
            let schema =
                given(schema).ok_or_else(|| Fault::invalid("response_format.json_schema.schema", "is missing"))?;
            Ok(Some(Constraint::JsonSchema(schema)))
        }
        other => {
            let known = "must be text, json_object or json_schema";
            Err(Fault::invalid("response_format.type", format!("{known}, not {other:?}")))
        }
    }
}

fn structured_outputs(wire: Structured) -> Result<Option<Constraint>, Fault> {
    if given(wire.structural_tag).is_some() {
        return Err(Fault::unsupported("structured_outputs.structural_tag", "is not supported; use tools"));
    }
    let mut found: Vec<Constraint> = Vec::new();
    if let Some(schema) = given(wire.json) {
        found.push(Constraint::JsonSchema(parsed("structured_outputs.json", schema)?));
    }
    found.extend(wire.regex.map(Constraint::Regex));
    found.extend(wire.choice.map(Constraint::Choice));
    found.extend(wire.grammar.map(either_grammar));
    found.extend(wire.lark.map(Constraint::Lark));
    found.extend((wire.json_object == Some(true)).then_some(Constraint::JsonObject));
    if found.len() > 1 {
        return Err(Fault::invalid("structured_outputs", "must hold one constraint, not several"));
    }
    Ok(found.pop())
}

/// vLLM takes either language; only GBNF has `::=`.
fn either_grammar(grammar: String) -> Constraint {
    if grammar.contains("::=") { Constraint::Gbnf(grammar) } else { Constraint::Lark(grammar) }
}

/// A schema may come as text.
fn parsed(field: &str, schema: Value) -> Result<Value, Fault> {
    match schema {
        Value::String(text) => json::parse(text.as_bytes()).map_err(|fault| Fault::invalid(field, fault.to_string())),
        other => Ok(other),
    }
}

fn given(value: Option<Value>) -> Option<Value> {
    value.filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(body: &Value) -> Result<Option<Constraint>, Fault> {
        constraint(&Object::new(body.to_string().as_bytes())?)
    }

    #[test]
    fn every_client_s_way_is_read() {
        let schema = json!({"type": "object"});
        let by_schema = Constraint::JsonSchema(schema.clone());
        for (body, expected) in [
            (json!({}), None),
            (json!({"response_format": {"type": "text"}, "grammar": "", "guided_json": null}), None),
            (json!({"response_format": {"type": "json_object"}}), Some(Constraint::JsonObject)),
            (json!({"response_format": {"type": "json_object", "schema": schema}}), Some(by_schema.clone())),
            (
                json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": schema}}}),
                Some(by_schema.clone()),
            ),
            (json!({"json_schema": schema}), Some(by_schema.clone())),
            (json!({"guided_json": schema}), Some(by_schema.clone())),
            (json!({"guided_json": schema.to_string()}), Some(by_schema.clone())),
            (json!({"guided_regex": "a+"}), Some(Constraint::Regex("a+".into()))),
            (json!({"guided_choice": ["a", "b"]}), Some(Constraint::Choice(vec!["a".into(), "b".into()]))),
            (json!({"guided_grammar": "root ::= \"a\""}), Some(Constraint::Gbnf("root ::= \"a\"".into()))),
            (json!({"guided_grammar": "start: \"a\""}), Some(Constraint::Lark("start: \"a\"".into()))),
            (json!({"grammar": "root ::= \"a\""}), Some(Constraint::Gbnf("root ::= \"a\"".into()))),
            (json!({"structured_outputs": {"json": schema}}), Some(by_schema)),
            (json!({"structured_outputs": {"json_object": true}}), Some(Constraint::JsonObject)),
            (json!({"structured_outputs": {"regex": "a"}}), Some(Constraint::Regex("a".into()))),
            (
                json!({"structured_outputs": {"lark": "start: a ::= b"}}),
                Some(Constraint::Lark("start: a ::= b".into())),
            ),
        ] {
            assert_eq!(of(&body).unwrap(), expected, "{body}");
        }
    }

    #[test]
    fn a_constraint_is_never_ignored() {
        for (body, field) in [
            (json!({"response_format": {}}), "response_format"),
            (json!({"response_format": "json"}), "response_format"),
            (json!({"response_format": {"type": "yaml"}}), "response_format.type"),
            (json!({"response_format": {"type": "json_schema"}}), "response_format.json_schema"),
            (json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}), "json_schema.schema"),
            (json!({"guided_regex": "a", "grammar": "b"}), "guided_regex"),
            (json!({"structured_outputs": {"regex": "a", "json_object": true}}), "structured_outputs"),
            (json!({"structured_outputs": {"structural_tag": {}}}), "structural_tag"),
            (json!({"guided_json": "{"}), "guided_json"),
            (json!({"guided_choice": "a"}), "guided_choice"),
        ] {
            let fault = of(&body).unwrap_err();
            assert!(fault.param().is_some_and(|param| param.contains(field)), "{body}: {fault:?}");
            assert_eq!(fault.status().as_u16(), 400);
        }
    }

    #[test]
    fn a_model_s_fault_names_the_client_s_field() {
        let fault = named(Fault::invalid("constraint", "no"), br#"{"guided_regex": "("}"#);
        assert_eq!(fault.param(), Some("guided_regex"));
        assert_eq!(named(Fault::invalid("seed", "no"), b"{}").param(), Some("seed"));
    }
}
