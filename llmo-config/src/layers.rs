//! Settings as a flat map from dotted key to value and origin: where layers are put on top of each other.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{Config, ConfigError, Origin};

/// A setting's value and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// All settings, by dotted key. Starts as the defaults, and has every key that exists.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    settings: BTreeMap<String, Setting>,
}

impl Layers {
    pub(crate) fn defaults() -> Self {
        let mut settings = BTreeMap::new();
        let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
        for (section, fields) in defaults.as_object().into_iter().flatten() {
            if fields.is_array() {
                settings.insert(section.clone(), Setting { value: fields.clone(), origin: Origin::Default });
            }
            for (key, value) in fields.as_object().into_iter().flatten() {
                let setting = Setting { value: value.clone(), origin: Origin::Default };
                settings.insert(format!("{section}.{key}"), setting);
            }
        }
        Self { settings }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.settings.iter().map(|(key, setting)| (key.as_str(), setting))
    }

    /// Is there a setting of this key?
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.settings.contains_key(key)
    }

    /// Puts a typed value on top.
    pub(crate) fn set(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), ConfigError> {
        let Some(setting) = self.settings.get_mut(key) else {
            let suggestion = closest(key, self.settings.keys());
            return Err(ConfigError::UnknownKey { key: key.to_owned(), origin, suggestion });
        };
        let before = std::mem::replace(setting, Setting { value: value.clone(), origin: origin.clone() });
        if let Err(message) = self.check(key) {
            self.settings.insert(key.to_owned(), before);
            return Err(ConfigError::InvalidValue { key: key.to_owned(), value: value.to_string(), origin, message });
        }
        Ok(())
    }

    /// Puts a list of tables (`[[routes]]`) on top. What is wrong with one is told with its number.
    pub(crate) fn set_list(&mut self, key: &str, list: Value, origin: Origin) -> Result<(), ConfigError> {
        let each = list.as_array().filter(|_| self.settings.contains_key(key)).into_iter().flatten();
        for (index, one) in each.enumerate() {
            let alone = Value::Object(Map::from_iter([(key.to_owned(), Value::Array(vec![one.clone()]))]));
            serde_json::from_value::<Config>(alone).map_err(|error| ConfigError::InvalidValue {
                key: format!("{key}, number {}", index + 1),
                value: one.to_string(),
                origin: origin.clone(),
                message: error.to_string(),
            })?;
        }
        self.set(key, list, origin)
    }

    /// Puts text on top, read as what the setting is: `true`, `1` and `yes` for a bool, commas between list items, and
    /// between the `name=number` of a table.
    pub(crate) fn set_text(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let current = self.settings.get(key).map(|s| &s.value);
        // An empty variable is how compose files and shells spell "not set".
        if text.trim().is_empty() && matches!(current, Some(Value::Bool(_) | Value::Number(_))) {
            return Ok(());
        }
        let value = match current {
            Some(Value::Bool(_)) => bool_of(text).map_or_else(|| Value::from(text), Value::Bool),
            Some(Value::Number(_)) => serde_json::from_str(text.trim()).unwrap_or_else(|_| Value::from(text)),
            Some(Value::Array(_)) => {
                text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(Value::from).collect()
            }
            Some(Value::Object(_)) => table_of(text),
            Some(Value::Null) if text.is_empty() => Value::Null,
            _ => Value::from(text),
        };
        self.set(key, value, origin)
    }

    /// The configuration that these settings make.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        serde_json::from_value(self.tree(|_| true)).map_err(|error| ConfigError::InvalidValue {
            key: "configuration".into(),
            value: String::new(),
            origin: Origin::Default,
            message: error.to_string(),
        })
    }

    fn check(&self, key: &str) -> Result<(), String> {
        serde_json::from_value::<Config>(self.tree(|k| k == key)).map(drop).map_err(|error| error.to_string())
    }

    fn tree(&self, wanted: impl Fn(&str) -> bool) -> Value {
        let mut root = Map::new();
        for (key, setting) in self.settings.iter().filter(|(key, _)| wanted(key)) {
            let Some((section, field)) = key.split_once('.') else {
                root.insert(key.clone(), setting.value.clone());
                continue;
            };
            if let Value::Object(fields) = root.entry(section).or_insert_with(|| Value::Object(Map::new())) {
                fields.insert(field.to_owned(), setting.value.clone());
            }
        }
        Value::Object(root)
    }
}

fn bool_of(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// `a=1,b=0.5`; what isn't of that form stays as it is, to be refused with the reason.
fn table_of(text: &str) -> Value {
    let entry = |item: &str| {
        let (name, value) = item.split_once('=')?;
        Some((name.trim().to_owned(), serde_json::from_str(value.trim()).unwrap_or_else(|_| Value::from(value))))
    };
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(entry).collect::<Option<Map<_, _>>>().map_or_else(|| Value::from(text), Value::Object)
}

fn closest<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    known
        .map(|candidate| (strsim::jaro_winkler(key, candidate), candidate))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.clone())
}
