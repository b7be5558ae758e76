//! A LoRA adapter: small weights over those of a model.

use std::fmt;
use std::path::PathBuf;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

/// A LoRA adapter. In a file a table, or, as in an environment variable, the text `MODEL:NAME=PATH` or
/// `MODEL:NAME@SCALE=PATH`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdapterConfig {
    /// What it is called; callers ask for the model `MODEL:NAME`.
    pub name: String,
    /// The model it was trained for.
    pub model: String,
    /// A GGUF file.
    pub path: PathBuf,
    /// How strongly it works: 0.0 not at all, 1.0 as trained.
    pub scale: f32,
}

impl AdapterConfig {
    /// Reads `MODEL:NAME@SCALE=PATH`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} must be MODEL:NAME=PATH or MODEL:NAME@SCALE=PATH");
        let (names, path) = text.split_once('=').ok_or_else(wrong)?;
        // Names of models may hold colons, names of adapters don't.
        let (model, name) = names.rsplit_once(':').ok_or_else(wrong)?;
        let (name, scale) = match name.split_once('@') {
            Some((name, scale)) => (name, scale.parse().map_err(|_| wrong())?),
            None => (name, 1.0),
        };
        Self { name: name.into(), model: model.into(), path: path.into(), scale }.checked()
    }

    fn checked(self) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || !self.name.chars().all(plain) || self.name.starts_with('.') {
            return Err(format!("the adapter's name {:?} must be of letters, digits, - _ .", self.name));
        }
        if self.model.is_empty() || self.path.as_os_str().is_empty() {
            return Err(format!("the adapter {:?} needs a model and a path", self.name));
        }
        if !(-100.0..=100.0).contains(&self.scale) {
            return Err(format!("the adapter {:?} has the scale {}; -100 to 100 is possible", self.name, self.scale));
        }
        Ok(self)
    }
}

impl<'de> Deserialize<'de> for AdapterConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            name: String,
            model: String,
            path: PathBuf,
            #[serde(default = "as_trained")]
            scale: f32,
        }

        fn as_trained() -> f32 {
            1.0
        }

        struct TableOrText;

        impl<'de> Visitor<'de> for TableOrText {
            type Value = AdapterConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table with name, model, path and scale, or the text MODEL:NAME@SCALE=PATH")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<AdapterConfig, E> {
                AdapterConfig::parse(text).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AdapterConfig, A::Error> {
                let Table { name, model, path, scale } =
                    Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                AdapterConfig { name, model, path, scale }.checked().map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(TableOrText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(scale: f32) -> AdapterConfig {
        AdapterConfig { name: "sql".into(), model: "llama3.1:8b".into(), path: "/a/sql.gguf".into(), scale }
    }

    #[test]
    fn text_and_tables_say_the_same() {
        assert_eq!(AdapterConfig::parse("llama3.1:8b:sql=/a/sql.gguf"), Ok(adapter(1.0)));
        assert_eq!(AdapterConfig::parse("llama3.1:8b:sql@0.5=/a/sql.gguf"), Ok(adapter(0.5)));
        let table = r#"{"name": "sql", "model": "llama3.1:8b", "path": "/a/sql.gguf"}"#;
        assert_eq!(serde_json::from_str::<AdapterConfig>(table).unwrap(), adapter(1.0));
        let again = serde_json::to_string(&adapter(0.5)).unwrap();
        assert_eq!(serde_json::from_str::<AdapterConfig>(&again).unwrap(), adapter(0.5));
    }

    #[test]
    fn what_is_missing_is_told() {
        for bad in ["", "sql", "m:sql", "m:=/p", "m:sql@x=/p", "m:s/q=/p", "m:sql=", ":sql=/p", "m:sql@1e9=/p"] {
            assert!(AdapterConfig::parse(bad).is_err(), "{bad}");
        }
    }
}
