//! `format`, `think`, and the fields that ask for what can't be had.

use llmo_core::model::Constraint;
use serde_json::Value;

use crate::fault::Fault;

/// `"json"`, or a JSON schema.
pub(super) fn constraint(format: Option<Value>) -> Result<Option<Constraint>, Fault> {
    match format {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text == "json" => Ok(Some(Constraint::JsonObject)),
        Some(schema @ Value::Object(_)) => Ok(Some(Constraint::JsonSchema(schema))),
        Some(_) => Err(Fault::invalid("format", "must be \"json\" or a JSON schema, an object")),
    }
}

/// Thinking can only be turned off.
pub(super) fn no_thinking(think: Option<&Value>) -> Result<(), Fault> {
    match think {
        None | Some(Value::Null | Value::Bool(false)) => Ok(()),
        Some(Value::Bool(true) | Value::String(_)) => {
            Err(Fault::unsupported("think", "no model here thinks apart from its answer"))
        }
        Some(_) => Err(Fault::invalid("think", "must be true, false, \"low\", \"medium\" or \"high\"")),
    }
}

/// Models here read text only.
pub(super) fn no_images(param: &str, images: Option<&Vec<Value>>) -> Result<(), Fault> {
    if images.is_some_and(|images| !images.is_empty()) {
        return Err(Fault::unsupported(param, "this model reads text only, no images"));
    }
    Ok(())
}

/// How many alternatives to tell with each token, if log probabilities are asked for.
pub(super) fn logprobs(wanted: Option<bool>, top: Option<u32>) -> Result<Option<u32>, Fault> {
    match (wanted.unwrap_or(false), top) {
        (true, top) => Ok(Some(top.unwrap_or(0))),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => Err(Fault::invalid("top_logprobs", "needs logprobs to be true")),
    }
}
