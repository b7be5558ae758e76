//! JSON schemas: what is refused before the compiler sees it, and how JSON is written.

use std::collections::HashMap;

use llguidance::api::TopLevelGrammar;
use llmo_core::ModelError;
use serde_json::{Value, json};

use super::{PARAM, limits, pattern};

/// Between any two tokens of JSON: nothing, a space, or a line break with some indentation. Without a bound small models
/// fill the context with spaces (llama.cpp's grammars have the same one).
const WHITESPACE: &str = r"[ ]|\n[ \t]{0,20}";

/// Rounds in which references are followed; chains of more are left to the compiler.
const MOST_ROUNDS: usize = 100;

/// Refuses a schema that is too deep, refers to the network, repeats too much, or fits no finite value.
///
/// # Errors
/// [`ModelError::InvalidRequest`] with the reason.
pub(crate) fn check(schema: &Value) -> Result<(), ModelError> {
    if !matches!(schema, Value::Object(_) | Value::Bool(true)) {
        return Err(ModelError::invalid(PARAM, "a JSON schema is an object"));
    }
    check_depth(schema)?;
    check_references(schema)?;
    check_patterns(schema)?;
    if is_endless(schema) {
        return Err(ModelError::invalid(PARAM, "a $ref leads back to itself: no value of finite size fits the schema"));
    }
    Ok(())
}

/// Refuses expressions that repeat too much.
fn check_patterns(schema: &Value) -> Result<(), ModelError> {
    let mut checked = Ok(());
    visit(schema, &mut |map| {
        let keys = map.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(|map| map.keys());
        let patterns = map.get("pattern").and_then(Value::as_str).into_iter().chain(keys.map(String::as_str));
        for pattern in patterns {
            if checked.is_ok() {
                checked = pattern::check_repetitions(pattern);
            }
        }
    });
    checked
}

/// Refuses deep nesting, without recursion.
pub(super) fn check_depth(schema: &Value) -> Result<(), ModelError> {
    let mut open = vec![(schema, 0)];
    while let Some((value, depth)) = open.pop() {
        if depth > limits::SCHEMA_DEPTH {
            return Err(ModelError::invalid(PARAM, format!("nested deeper than {} levels", limits::SCHEMA_DEPTH)));
        }
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(map) => open.extend(map.values().map(|item| (item, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}

fn check_references(schema: &Value) -> Result<(), ModelError> {
    let mut ids = Vec::new();
    visit(schema, &mut |map| ids.extend(map.get("$id").and_then(Value::as_str).map(str::to_owned)));
    let mut bad = None;
    visit(schema, &mut |map| {
        if let Some(Value::String(uri)) = map.get("$ref")
            && !uri.starts_with('#')
            && !ids.iter().any(|id| uri.starts_with(id.as_str()))
        {
            bad.get_or_insert_with(|| uri.clone());
        }
        for counter in ["minItems", "minProperties", "minLength"] {
            if let Some(count) = map.get(counter).and_then(Value::as_u64).filter(|count| *count > limits::REPETITION) {
                bad.get_or_insert_with(|| format!("{counter}: {count}"));
            }
        }
    });
    match bad {
        Some(what) if what.contains(": ") => {
            Err(ModelError::invalid(PARAM, format!("{what} is more than {}", limits::REPETITION)))
        }
        Some(uri) => {
            let message = format!("$ref {uri:?} is outside the schema and nothing is fetched; put it into $defs");
            Err(ModelError::invalid(PARAM, message))
        }
        None => Ok(()),
    }
}

/// Calls `f` with every object.
fn visit<'a>(schema: &'a Value, f: &mut dyn FnMut(&'a serde_json::Map<String, Value>)) {
    let mut open = vec![schema];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(map) => {
                f(map);
                open.extend(map.values());
            }
            _ => {}
        }
    }
}

/// Does no finite value fit? Every object of such a schema needs another one, for ever.
///
/// What the references lead to is found by rounds: in the first, no reference has an end; a round can only add some.
fn is_endless(schema: &Value) -> bool {
    let mut ends: HashMap<&str, bool> = HashMap::new();
    visit(schema, &mut |map| {
        if let Some(uri) = map.get("$ref").and_then(Value::as_str).filter(|uri| uri.starts_with('#')) {
            ends.insert(uri, false);
        }
    });
    let open: Vec<&str> = ends.keys().copied().collect();
    for _ in 0..MOST_ROUNDS {
        let mut changed = false;
        for &uri in &open {
            let pointer = uri.trim_start_matches('#');
            // What can't be found is the compiler's to refuse.
            if !ends[uri] && schema.pointer(pointer).is_none_or(|target| has_end(target, &ends)) {
                ends.insert(uri, true);
                changed = true;
            }
        }
        if !changed {
            return !has_end(schema, &ends);
        }
    }
    false
}

fn has_end(schema: &Value, ends: &HashMap<&str, bool>) -> bool {
    let Value::Object(map) = schema else { return true };
    let list = |key: &str| map.get(key).and_then(Value::as_array);
    let end = |schema: &Value| has_end(schema, ends);
    let reference = map.get("$ref").and_then(Value::as_str).and_then(|uri| ends.get(uri));
    if reference == Some(&false)
        || list("allOf").is_some_and(|all| !all.iter().all(end))
        || ["anyOf", "oneOf"].into_iter().any(|key| list(key).is_some_and(|any| !any.iter().any(end)))
    {
        return false;
    }
    match map.get("type").and_then(Value::as_str) {
        Some("object") => {
            let properties = map.get("properties").and_then(Value::as_object);
            let required = list("required").into_iter().flatten().filter_map(Value::as_str);
            required.filter_map(|name| properties?.get(name)).all(end)
        }
        Some("array") if map.get("minItems").and_then(Value::as_u64).is_some_and(|least| least > 0) => {
            map.get("items").is_none_or(end)
        }
        _ => true,
    }
}

/// The grammar of a schema, with our white space unless the schema says its own.
pub(super) fn grammar(mut schema: Value) -> TopLevelGrammar {
    if let Value::Object(map) = &mut schema {
        map.entry("x-guidance").or_insert_with(|| json!({"whitespace_pattern": WHITESPACE}));
    }
    TopLevelGrammar::from_json_schema(schema)
}
