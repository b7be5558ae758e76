//! What requests say of the model itself: which adapter is put over it, and how long it stays in memory.

use llmo_core::GenerateRequest;
use llmo_core::model::{Adapter, KeepAlive};
use serde::Deserialize;
use serde_json::Value;

use crate::fault::Fault;
use crate::http::json::Object;

/// Read in a pass of its own, as other extensions are.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    /// llama-server's form: `[{"id": 0, "scale": 0.5}]`; `name` instead of `id` is understood.
    lora: Option<Vec<WireAdapter>>,
    /// A name, or one such object.
    adapter: Option<Value>,
    keep_alive: Option<KeepAlive>,
}

#[derive(Debug, Deserialize)]
struct WireAdapter {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    scale: Option<f32>,
}

/// Puts the fields `lora`, `adapter` and `keep_alive` of a body into a request.
///
/// # Errors
/// [`Fault`] naming the field.
pub(crate) fn apply(request: &mut GenerateRequest, body: &Object<'_>) -> Result<(), Fault> {
    let fields: Fields = body.read_rare()?;
    request.keep_alive = fields.keep_alive;
    let mut adapters = Vec::new();
    for adapter in fields.lora.unwrap_or_default() {
        adapters.push(translate(adapter, "lora")?);
    }
    match fields.adapter {
        None | Some(Value::Null) => {}
        Some(Value::String(name)) => adapters.push(Adapter::new(name)),
        Some(other) => {
            let adapter = serde_json::from_value(other)
                .map_err(|_| Fault::invalid("adapter", "must be a name, or an object with name and scale"))?;
            adapters.push(translate(adapter, "adapter")?);
        }
    }
    // An adapter of no strength is none: llama-server's clients list those they don't want.
    adapters.retain(|adapter| adapter.scale != 0.0);
    if adapters.len() > 1 {
        return Err(Fault::invalid("lora", "one adapter at a time"));
    }
    request.adapter = adapters.pop();
    Ok(())
}

fn translate(wire: WireAdapter, field: &str) -> Result<Adapter, Fault> {
    let id = match wire.id {
        Some(Value::String(id)) => Some(id),
        Some(Value::Number(id)) => Some(id.to_string()),
        _ => None,
    };
    let name = wire.name.or(id).ok_or_else(|| Fault::invalid(field, "needs the name or the id of an adapter"))?;
    let mut adapter = Adapter::new(name);
    adapter.scale = wire.scale.unwrap_or(1.0);
    Ok(adapter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<GenerateRequest, Fault> {
        let mut request = GenerateRequest::ask("x");
        apply(&mut request, &Object::new(body.as_bytes())?).map(|()| request)
    }

    #[test]
    fn adapters_are_read_in_all_forms() {
        let half = |name: &str| {
            let mut adapter = Adapter::new(name);
            adapter.scale = 0.5;
            Some(adapter)
        };
        for (body, expected) in [
            ("{}", None),
            (r#"{"lora": []}"#, None),
            (r#"{"lora": [{"id": 0, "scale": 0.5}, {"id": 1, "scale": 0}]}"#, half("0")),
            (r#"{"lora": [{"name": "sql", "scale": 0.5}]}"#, half("sql")),
            (r#"{"adapter": {"name": "sql", "scale": 0.5}}"#, half("sql")),
            (r#"{"adapter": "sql"}"#, Some(Adapter::new("sql"))),
        ] {
            assert_eq!(read(body).unwrap().adapter, expected, "{body}");
        }
        for bad in [
            r#"{"lora": [{"name": "a"}, {"name": "b"}]}"#,
            r#"{"lora": [{"scale": 1}]}"#,
            r#"{"adapter": 5}"#,
            r#"{"keep_alive": "soon"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn how_long_a_model_stays_is_read_as_ollama_has_it() {
        assert_eq!(read(r#"{"keep_alive": 0}"#).unwrap().keep_alive, Some(KeepAlive::NOT_AT_ALL));
        assert_eq!(read(r#"{"keep_alive": "-1s"}"#).unwrap().keep_alive, Some(KeepAlive::Forever));
    }
}
