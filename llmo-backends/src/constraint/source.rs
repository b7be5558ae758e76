//! What llguidance is given for a constraint, after it was found to be of a size that can be compiled.

use llguidance::api::TopLevelGrammar;
use llmo_core::ModelError;
use llmo_core::model::Constraint;

use super::{PARAM, gbnf, limits, pattern, schema};

/// What tells a constraint from all others.
///
/// # Errors
/// [`ModelError::InvalidRequest`] if it is too long.
pub(super) fn key(constraint: &Constraint) -> Result<String, ModelError> {
    if let Constraint::JsonSchema(value) = constraint {
        // Writing a value out recurses.
        schema::check_depth(value)?;
    }
    let key = serde_json::to_string(constraint).map_err(|error| ModelError::invalid(PARAM, error.to_string()))?;
    if key.len() > limits::SOURCE_BYTES {
        let message = format!("at most {} KiB long, it has {}", limits::SOURCE_BYTES >> 10, key.len() >> 10);
        return Err(ModelError::invalid(PARAM, message));
    }
    Ok(key)
}

/// The grammar of a constraint.
///
/// # Errors
/// [`ModelError::InvalidRequest`] for what is malformed or larger than the limits.
pub(super) fn grammar(constraint: &Constraint) -> Result<TopLevelGrammar, ModelError> {
    match constraint {
        Constraint::JsonObject => Ok(schema::grammar(serde_json::json!({"type": "object"}))),
        Constraint::JsonSchema(value) => {
            schema::check(value)?;
            Ok(schema::grammar(value.clone()))
        }
        Constraint::Regex(expression) => pattern::regex(expression).map(TopLevelGrammar::from_lark),
        Constraint::Choice(texts) => pattern::choice(texts).map(TopLevelGrammar::from_lark),
        Constraint::Gbnf(text) => gbnf::to_lark(text).map(TopLevelGrammar::from_lark),
        Constraint::Lark(text) => lark(text).map(TopLevelGrammar::from_lark),
        _ => Err(ModelError::invalid(PARAM, "of a kind that this backend does not know")),
    }
}

/// Lark is llguidance's own language. It compiles rules recursively, so there must not be too many; groups and
/// repetitions it bounds itself.
fn lark(text: &str) -> Result<String, ModelError> {
    let rules = text.lines().filter(|line| line.contains(':')).count();
    if rules > limits::RULES {
        return Err(ModelError::invalid(PARAM, format!("at most {} rules, it has {rules}", limits::RULES)));
    }
    for numbers in text.split(['{', '~']).skip(1) {
        let numbers = numbers.split(['}', '\n', '/']).next().unwrap_or_default();
        pattern::check_numbers(numbers)?;
    }
    if text.trim().is_empty() {
        return Err(ModelError::invalid(PARAM, "must not be empty"));
    }
    Ok(text.to_owned())
}
