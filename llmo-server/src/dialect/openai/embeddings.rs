//! `/v1/embeddings`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use llmo_core::model::KeepAlive;
use llmo_core::{EmbedRequest, Embeddings};
use serde::de::{self, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::http::json;

/// Most texts of one request, as OpenAI has it.
pub const MAX_INPUTS: usize = 2048;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireRequest {
    model: Option<String>,
    input: Option<Input>,
    encoding_format: Option<String>,
    dimensions: Option<u32>,
    truncate: Option<bool>,
    keep_alive: Option<KeepAlive>,
}

/// A translated request.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedCall {
    /// The name of the model; empty: the default model.
    pub model: String,
    /// What to embed.
    pub request: EmbedRequest,
    /// How vectors are written.
    pub encoding: Encoding,
}

/// How a vector is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// An array of numbers.
    Float,
    /// Little-endian f32 in base64: what OpenAI's own clients ask for.
    Base64,
}

/// Translates a request's body.
///
/// # Errors
/// [`Fault`] naming the field.
pub fn parse(body: &[u8]) -> Result<EmbedCall, Fault> {
    let wire: WireRequest = json::parse(body)?;
    let encoding = match wire.encoding_format.as_deref() {
        None | Some("float") => Encoding::Float,
        Some("base64") => Encoding::Base64,
        Some(other) => {
            return Err(Fault::invalid("encoding_format", format!("must be float or base64, not {other:?}")));
        }
    };
    let input = match wire.input.ok_or_else(|| Fault::invalid("input", "is missing"))? {
        Input::Texts(texts) => texts,
        Input::Tokens => return Err(Fault::unsupported("input", "token ids can't be embedded, only text")),
    };
    if input.is_empty() || input.len() > MAX_INPUTS {
        return Err(Fault::invalid("input", format!("must hold 1 to {MAX_INPUTS} texts, got {}", input.len())));
    }
    if let Some(i) = input.iter().position(String::is_empty) {
        return Err(Fault::invalid(format!("input[{i}]"), "must not be empty"));
    }
    if wire.dimensions == Some(0) {
        return Err(Fault::invalid("dimensions", "must be at least 1"));
    }
    let mut request = EmbedRequest::new(input);
    request.dimensions = wire.dimensions;
    request.truncate = wire.truncate.unwrap_or(false);
    request.keep_alive = wire.keep_alive;
    Ok(EmbedCall { model: wire.model.unwrap_or_default(), request, encoding })
}

/// The answer's body.
#[derive(Debug, Serialize)]
pub struct EmbedAnswer {
    object: &'static str,
    data: Vec<Item>,
    model: String,
    usage: WireUsage,
}

#[derive(Debug, Serialize)]
struct Item {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

#[derive(Debug, Serialize)]
struct WireUsage {
    prompt_tokens: u64,
    total_tokens: u64,
}

impl EmbedAnswer {
    /// Vectors by this model.
    #[must_use]
    pub fn new(embeddings: Embeddings, model: &str, encoding: Encoding) -> Self {
        let usage = embeddings.usage;
        let item = |(index, vector)| Item { object: "embedding", index, embedding: Vector::new(vector, encoding) };
        Self {
            object: "list",
            data: embeddings.vectors.into_iter().enumerate().map(item).collect(),
            model: model.to_owned(),
            usage: WireUsage { prompt_tokens: usage.prompt_tokens, total_tokens: usage.total() },
        }
    }
}

impl Vector {
    fn new(vector: Vec<f32>, encoding: Encoding) -> Self {
        match encoding {
            Encoding::Float => Self::Float(vector),
            Encoding::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                Self::Base64(STANDARD.encode(bytes))
            }
        }
    }
}

/// `input`.
#[derive(Debug)]
enum Input {
    Texts(Vec<String>),
    Tokens,
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyForm;

        impl<'de> Visitor<'de> for AnyForm {
            type Value = Input;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Input, E> {
                Ok(Input::Texts(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Input, A::Error> {
                let mut texts = Vec::new();
                let mut tokens = false;
                while let Some(element) = seq.next_element()? {
                    match element {
                        Element::Text(text) => texts.push(text),
                        Element::Tokens => tokens = true,
                    }
                }
                Ok(if tokens { Input::Tokens } else { Input::Texts(texts) })
            }
        }

        deserializer.deserialize_any(AnyForm)
    }
}

enum Element {
    Text(String),
    Tokens,
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementForm;

        impl<'de> Visitor<'de> for ElementForm {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Text(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Element, E> {
                Ok(Element::Tokens)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Element, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Element::Tokens)
            }
        }

        deserializer.deserialize_any(ElementForm)
    }
}
