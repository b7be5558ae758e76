//! Embeddings and tokens, to and from the wire. Pure.

use llmo_core::model::{EmbedRequest, Embeddings, ModelError, Result, TokenId, TokenizeOptions, Usage};
use serde::Deserialize;
use serde_json::{Value, json};

use super::request::{Post, Upstream};

/// A request for embeddings.
///
/// # Errors
/// [`ModelError::Unsupported`] for truncation, if the upstream takes no extensions.
pub fn embed(request: &EmbedRequest, upstream: Upstream<'_>) -> Result<Post> {
    let mut body = json!({"model": upstream.model, "input": request.input, "encoding_format": "float"});
    if let Some(dimensions) = request.dimensions {
        body["dimensions"] = dimensions.into();
    }
    if request.truncate {
        if !upstream.extensions {
            return Err(ModelError::Unsupported { model: upstream.model.into(), what: "truncation".into() });
        }
        body["truncate"] = true.into();
    }
    if let (true, Some(keep_alive)) = (upstream.extensions, request.keep_alive) {
        body["keep_alive"] = json!(keep_alive);
    }
    Ok(Post::json("/v1/embeddings", &body))
}

/// A request to split a text.
#[must_use]
pub fn tokenize(text: &str, options: TokenizeOptions, upstream: Upstream<'_>) -> Post {
    let body = json!({
        "model": upstream.model,
        "content": text,
        "add_special": options.add_special,
        "parse_special": options.parse_special,
    });
    Post::json("/tokenize", &body)
}

/// A request to join tokens.
#[must_use]
pub fn detokenize(tokens: &[TokenId], upstream: Upstream<'_>) -> Post {
    Post::json("/detokenize", &json!({"model": upstream.model, "tokens": tokens}))
}

#[derive(Deserialize)]
struct EmbeddingList {
    data: Vec<Embedding>,
    #[serde(default)]
    usage: Option<EmbeddingUsage>,
}

#[derive(Deserialize)]
struct Embedding {
    #[serde(default)]
    index: Option<usize>,
    embedding: Vec<f32>,
}

#[derive(Deserialize, Default)]
struct EmbeddingUsage {
    #[serde(default)]
    prompt_tokens: u64,
}

/// Reads vectors: as many as inputs, in their order, of one length, scaled to unit length if they are not.
///
/// # Errors
/// [`ModelError::Upstream`] if the answer is anything else.
pub fn read_embeddings(body: &[u8], inputs: usize) -> Result<Embeddings> {
    let list: EmbeddingList = serde_json::from_slice(body).map_err(|e| bad(&format!("unreadable embeddings: {e}")))?;
    let mut vectors = vec![Vec::new(); inputs];
    for (position, item) in list.data.into_iter().enumerate() {
        let slot = vectors.get_mut(item.index.unwrap_or(position)).ok_or_else(|| bad("more embeddings than inputs"))?;
        *slot = item.embedding;
    }
    let length = vectors.first().map_or(0, Vec::len);
    for vector in &mut vectors {
        if vector.is_empty() || vector.len() != length {
            return Err(bad("embeddings are missing or of different lengths"));
        }
        normalise(vector)?;
    }
    let tokens = list.usage.unwrap_or_default().prompt_tokens;
    Ok(Embeddings::new(vectors, Usage::new(tokens, 0)))
}

fn normalise(vector: &mut [f32]) -> Result<()> {
    let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    if !norm.is_finite() || norm == 0.0 {
        return Err(bad("an embedding has no direction"));
    }
    // What is of unit length up to rounding passes through bit by bit.
    if (norm - 1.0).abs() > 1e-4 {
        vector.iter_mut().for_each(|v| *v /= norm);
    }
    Ok(())
}

/// Reads the answer of `/tokenize`. llama-server may give `{"id", "piece"}` objects instead of numbers.
///
/// # Errors
/// [`ModelError::Upstream`] if the answer is anything else.
pub fn read_tokens(body: &[u8]) -> Result<Vec<TokenId>> {
    let body: Value = serde_json::from_slice(body).map_err(|e| bad(&format!("unreadable tokens: {e}")))?;
    let tokens = body["tokens"].as_array().ok_or_else(|| bad("no tokens in the answer"))?;
    let id = |token: &Value| token.as_u64().or_else(|| token["id"].as_u64()).and_then(|id| TokenId::try_from(id).ok());
    tokens.iter().map(|token| id(token).ok_or_else(|| bad("a token that is no number"))).collect()
}

/// Reads the answer of `/detokenize`.
///
/// # Errors
/// [`ModelError::Upstream`] if the answer is anything else.
pub fn read_text(body: &[u8]) -> Result<String> {
    let body: Value = serde_json::from_slice(body).map_err(|e| bad(&format!("unreadable text: {e}")))?;
    body["content"].as_str().map(str::to_owned).ok_or_else(|| bad("no text in the answer"))
}

/// Nothing of such an answer was used, so the request may be sent elsewhere.
fn bad(message: &str) -> ModelError {
    ModelError::Upstream { message: message.into(), started: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_in_the_order_of_their_inputs() {
        let body =
            br#"{"data":[{"index":1,"embedding":[0,2]},{"index":0,"embedding":[1,0]}],"usage":{"prompt_tokens":5}}"#;
        let embeddings = read_embeddings(body, 2).unwrap();
        assert_eq!(embeddings.vectors, [vec![1.0, 0.0], vec![0.0, 1.0]]);
        assert_eq!(embeddings.usage.prompt_tokens, 5);
    }

    #[test]
    fn missing_extra_uneven_and_zero_vectors_are_refused() {
        for body in [
            r#"{"data":[{"embedding":[1,0]}]}"#,
            r#"{"data":[{"embedding":[1]},{"embedding":[1]},{"embedding":[1]}]}"#,
            r#"{"data":[{"embedding":[1]},{"embedding":[1,0]}]}"#,
            r#"{"data":[{"embedding":[0]},{"embedding":[1]}]}"#,
            r#"{"data":[{"embedding":["x"]},{"embedding":[1]}]}"#,
            "<html>",
        ] {
            let error = read_embeddings(body.as_bytes(), 2).unwrap_err();
            assert!(matches!(error, ModelError::Upstream { started: false, .. }), "{body}: {error}");
        }
    }

    #[test]
    fn tokens_come_as_numbers_or_with_their_pieces() {
        assert_eq!(read_tokens(br#"{"tokens":[1,{"id":2,"piece":"x"}]}"#).unwrap(), [1, 2]);
        assert!(read_tokens(br#"{"tokens":[-1]}"#).is_err());
        assert!(read_tokens(br#"{"error":1}"#).is_err());
    }
}
