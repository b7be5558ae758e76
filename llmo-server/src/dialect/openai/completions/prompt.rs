//! The forms of `prompt`: text, tokens, or an array of either.

use std::fmt;

use llmo_core::model::{Prompt, TokenId};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

/// One or several prompts.
#[derive(Debug)]
pub(super) struct Prompts(pub(super) Vec<Prompt>);

impl<'de> Deserialize<'de> for Prompts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyForm;

        impl<'de> Visitor<'de> for AnyForm {
            type Value = Prompts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an array of strings, an array of token ids, or an array of such arrays")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Prompts, E> {
                Ok(Prompts(vec![Prompt::Text(text.to_owned())]))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Prompts, E> {
                Ok(Prompts(vec![Prompt::Text(text)]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Prompts, A::Error> {
                let mut prompts = Vec::new();
                let mut tokens = Vec::new();
                while let Some(element) = seq.next_element()? {
                    match element {
                        Element::Token(token) => tokens.push(token),
                        Element::Prompt(prompt) => prompts.push(prompt),
                    }
                }
                match (prompts.is_empty(), tokens.is_empty()) {
                    (true, false) => Ok(Prompts(vec![Prompt::Tokens(tokens)])),
                    (_, true) => Ok(Prompts(prompts)),
                    (false, false) => Err(de::Error::custom("token ids and other prompts can't be mixed")),
                }
            }
        }

        deserializer.deserialize_any(AnyForm)
    }
}

/// An element of the array.
enum Element {
    Token(TokenId),
    Prompt(Prompt),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementForm;

        impl<'de> Visitor<'de> for ElementForm {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a token id, or an array of token ids")
            }

            fn visit_u64<E: de::Error>(self, id: u64) -> Result<Element, E> {
                TokenId::try_from(id).map(Element::Token).map_err(|_| E::custom(format!("{id} is not a token id")))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Prompt(Prompt::Text(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Element, A::Error> {
                let mut tokens = Vec::new();
                while let Some(token) = seq.next_element()? {
                    tokens.push(token);
                }
                Ok(Element::Prompt(Prompt::Tokens(tokens)))
            }
        }

        deserializer.deserialize_any(ElementForm)
    }
}
