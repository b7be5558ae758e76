//! The document, put together once.

use std::sync::LazyLock;

use serde_json::{Map, Value};

const BASE: &str = include_str!("openapi/base.json");
const PARTS: [(&str, &str); 6] = [
    ("openai", include_str!("openapi/openai.json")),
    ("beside", include_str!("openapi/beside.json")),
    ("anthropic", include_str!("openapi/anthropic.json")),
    ("ollama", include_str!("openapi/ollama.json")),
    ("plain", include_str!("openapi/plain.json")),
    ("service", include_str!("openapi/service.json")),
];

static WHOLE: LazyLock<Value> = LazyLock::new(|| {
    let mut whole = read("base", BASE);
    whole["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    for (name, text) in PARTS {
        merge(&mut whole, read(name, text));
    }
    whole
});

/// All of it.
pub(super) fn whole() -> &'static Value {
    &WHOLE
}

/// The files are part of the program; a test reads them all.
fn read(name: &str, text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| {
        tracing::error!(name, %error, "a part of the OpenAPI document can't be read");
        Value::Object(Map::new())
    })
}

/// Objects are joined; anything else is replaced.
fn merge(into: &mut Value, part: Value) {
    match (into, part) {
        (Value::Object(into), Value::Object(part)) => {
            for (name, value) in part {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, part) => *into = part,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_part_is_json() {
        for (name, text) in PARTS.into_iter().chain([("base", BASE)]) {
            assert!(serde_json::from_str::<Value>(text).is_ok(), "{name}");
        }
    }

    /// Paths as OpenAPI writes them.
    fn routes(source: &str) -> BTreeSet<String> {
        let paths = source.split(".route(").skip(1).filter_map(|rest| rest.split('"').nth(1));
        paths.map(|path| path.replace("{*", "{")).collect()
    }

    #[test]
    fn every_route_is_documented_and_nothing_else_is() {
        let mut served = routes(include_str!("../router.rs"));
        served.extend(routes(include_str!("../../services/model/status.rs")));
        let documented: BTreeSet<String> =
            whole()["paths"].as_object().into_iter().flat_map(|paths| paths.keys().cloned()).collect();
        let missing: Vec<_> = served.difference(&documented).collect();
        let surplus: Vec<_> = documented.difference(&served).collect();
        assert!(missing.is_empty() && surplus.is_empty(), "undocumented: {missing:?}; not served: {surplus:?}");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        references(whole(), &mut found);
        assert!(found.len() > 50);
        for reference in found {
            assert!(whole().pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }
}
