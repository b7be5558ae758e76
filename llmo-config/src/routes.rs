//! `[[upstreams]]` and `[[routes]]`: who serves, and which model a request goes to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use crate::Secret;

/// A model service, or any OpenAI-compatible server. In a file a table, or just its URL.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct UpstreamConfig {
    /// Base URL, such as `http://10.0.0.1:8081`.
    pub url: String,
    /// Models that are used there, each `NAME` or `NAME=NAME-THERE`; empty: all, under their own names.
    pub models: Vec<String>,
    /// Its share of requests beside others that serve the same model; 0: none (what runs there goes on).
    pub weight: u32,
    /// Its API key, sent as a bearer token; empty: none.
    pub api_key: Secret,
    /// A file that holds the key instead, read whenever the upstreams are; empty: none.
    pub api_key_file: PathBuf,
    /// Does it take parameters that OpenAI does not have? Not given: llmo's own services do, and others that say what they
    /// are (vLLM, SGLang, llama-server); nobody else is sent one.
    pub extensions: Option<bool>,
}

impl UpstreamConfig {
    /// An upstream that is used for everything it serves.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            models: Vec::new(),
            weight: 1,
            api_key: Secret::default(),
            api_key_file: PathBuf::new(),
            extensions: None,
        }
    }
}

impl<'de> Deserialize<'de> for UpstreamConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            url: String,
            #[serde(default, deserialize_with = "one_or_many")]
            models: Vec<String>,
            #[serde(default = "one")]
            weight: u32,
            #[serde(default)]
            api_key: Secret,
            #[serde(default)]
            api_key_file: PathBuf,
            #[serde(default)]
            extensions: Option<bool>,
        }

        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "an upstream is a URL, or a table of url, models, weight (a whole number), api_key, api_key_file \
                         and extensions (true or false)"
        )]
        enum Form {
            Url(String),
            Table(Table),
        }

        Ok(match Form::deserialize(deserializer)? {
            Form::Url(url) => Self::new(url),
            Form::Table(Table { url, models, weight, api_key, api_key_file, extensions }) => {
                Self { url, models, weight, api_key, api_key_file, extensions }
            }
        })
    }
}

/// A rule: requests that match go to these models. The first rule that matches holds.
///
/// Patterns are names in which `*` stands for any characters, none included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RouteConfig {
    /// What logs and the dashboard call it; empty: its number.
    #[serde(default)]
    pub name: String,
    /// Patterns of the model asked for; empty: any.
    #[serde(default, deserialize_with = "one_or_many", alias = "models")]
    pub model: Vec<String>,
    /// Patterns of the request's path; empty: any.
    #[serde(default, deserialize_with = "one_or_many", alias = "paths")]
    pub path: Vec<String>,
    /// Patterns of the tenant (`x-llmo-tenant`); empty: any, and none.
    #[serde(default, deserialize_with = "one_or_many", alias = "tenants")]
    pub tenant: Vec<String>,
    /// Patterns of headers, all of which must be there.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The models that answer, shared by weight; empty: the one asked for. `*` in a name is what the first `*` of the
    /// model's pattern stood for.
    #[serde(default, deserialize_with = "one_or_many")]
    pub to: Vec<RouteTarget>,
    /// Models that are tried in this order when that one can't serve, or fails before its first token.
    #[serde(default, deserialize_with = "one_or_many", alias = "fallbacks")]
    pub fallback: Vec<String>,
    /// Names without `*` appear in lists of models.
    #[serde(default = "yes")]
    pub listed: bool,
}

impl Default for RouteConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            model: Vec::new(),
            path: Vec::new(),
            tenant: Vec::new(),
            headers: BTreeMap::new(),
            to: Vec::new(),
            fallback: Vec::new(),
            listed: true,
        }
    }
}

/// A model that a route goes to, and its share. In a file a table, or just the name.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RouteTarget {
    /// The model.
    pub model: String,
    /// Its share of the route's requests, relative to the others'; 0: none.
    pub weight: u32,
}

impl RouteTarget {
    /// A target with this share.
    pub fn new(model: impl Into<String>, weight: u32) -> Self {
        Self { model: model.into(), weight }
    }
}

impl<'de> Deserialize<'de> for RouteTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            model: String,
            #[serde(default = "one")]
            weight: u32,
        }

        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a target is a model's name, or a table of model and weight (a whole number)")]
        enum Form {
            Name(String),
            Table(Table),
        }

        Ok(match Form::deserialize(deserializer)? {
            Form::Name(model) => Self::new(model, 1),
            Form::Table(Table { model, weight }) => Self::new(model, weight),
        })
    }
}

fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Either<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Either<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("one, or a list")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            Ok(vec![T::deserialize(serde::de::value::StrDeserializer::new(text))?])
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
            Ok(vec![T::deserialize(serde::de::value::MapAccessDeserializer::new(map))?])
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = list.next_element()? {
                all.push(one);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_any(Either(std::marker::PhantomData))
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(text: &str) -> RouteConfig {
        toml::from_str(text).expect("a good route")
    }

    #[test]
    fn one_needs_no_list() {
        let short = route("model = \"gpt-4o\"\nto = \"smollm2\"\nfallback = \"tiny\"");
        let long = route("model = [\"gpt-4o\"]\nto = [{ model = \"smollm2\", weight = 1 }]\nfallback = [\"tiny\"]");
        assert_eq!(short, long);
        assert!(short.listed);
        let table = route("to = { model = \"smollm2\", weight = 3 }");
        assert_eq!(table.to, [RouteTarget::new("smollm2", 3)]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let route = route(
            "name = \"r\"\nmodel = \"a*\"\nto = [\"x\", { model = \"y\", weight = 9 }]\n[headers]\nx-env = \"dev*\"",
        );
        assert_eq!(serde_json::from_value::<RouteConfig>(serde_json::to_value(&route).unwrap()).unwrap(), route);
        let upstream: UpstreamConfig = serde_json::from_str("\"http://a:1\"").unwrap();
        assert_eq!(
            serde_json::from_value::<UpstreamConfig>(serde_json::to_value(&upstream).unwrap()).unwrap(),
            upstream
        );
    }

    #[test]
    fn a_misspelt_key_and_a_wrong_weight_are_told() {
        let error = toml::from_str::<RouteConfig>("modle = \"a\"").unwrap_err().to_string();
        assert!(error.contains("modle") && error.contains("fallback"), "{error}");
        for bad in ["{ model = \"a\", weight = -1 }", "{ model = \"a\", wieght = 1 }", "7"] {
            assert!(toml::from_str::<RouteConfig>(&format!("to = {bad}")).is_err(), "{bad}");
        }
    }
}
