//! `/tokenize` and `/detokenize`, as llama-server has them.

use llmo_core::model::{TokenId, TokenizeOptions};
use serde::Deserialize;

use crate::fault::Fault;
use crate::http::json;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireTokenize {
    model: Option<String>,
    content: Option<String>,
    add_special: Option<bool>,
    parse_special: Option<bool>,
    with_pieces: Option<bool>,
}

/// A translated `/tokenize`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokenize {
    /// The name of the model; empty: the default model.
    pub model: String,
    /// The text.
    pub content: String,
    /// How.
    pub options: TokenizeOptions,
    /// Tell the text of each token.
    pub with_pieces: bool,
}

/// Translates the body of `/tokenize`.
///
/// # Errors
/// [`Fault`] naming the field.
pub fn parse_tokenize(body: &[u8]) -> Result<Tokenize, Fault> {
    let wire: WireTokenize = json::parse(body)?;
    let content = wire.content.ok_or_else(|| Fault::invalid("content", "is missing"))?;
    let mut options = TokenizeOptions::default();
    options.add_special = wire.add_special.unwrap_or(false);
    options.parse_special = wire.parse_special.unwrap_or(false);
    let with_pieces = wire.with_pieces.unwrap_or(false);
    Ok(Tokenize { model: wire.model.unwrap_or_default(), content, options, with_pieces })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireDetokenize {
    model: Option<String>,
    tokens: Option<Vec<TokenId>>,
}

/// A translated `/detokenize`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detokenize {
    /// The name of the model; empty: the default model.
    pub model: String,
    /// The tokens.
    pub tokens: Vec<TokenId>,
}

/// Translates the body of `/detokenize`.
///
/// # Errors
/// [`Fault`] naming the field.
pub fn parse_detokenize(body: &[u8]) -> Result<Detokenize, Fault> {
    let wire: WireDetokenize = json::parse(body)?;
    let tokens = wire.tokens.ok_or_else(|| Fault::invalid("tokens", "is missing"))?;
    Ok(Detokenize { model: wire.model.unwrap_or_default(), tokens })
}
