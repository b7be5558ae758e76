//! `/v1/rerank`: the form that Jina and Cohere share, and that of text-embeddings-inference (`texts`).

use llmo_core::model::{Ranking, RerankRequest};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::fault::Fault;
use crate::http::json as strict;

/// Most documents of one request.
pub const MAX_DOCUMENTS: usize = 1024;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireRequest {
    model: Option<String>,
    query: Option<String>,
    documents: Option<Vec<Value>>,
    texts: Option<Vec<Value>>,
    top_n: Option<usize>,
    return_documents: Option<bool>,
    return_text: Option<bool>,
    truncate: Option<bool>,
}

/// A translated request.
#[derive(Debug, Clone, PartialEq)]
pub struct RerankCall {
    /// The name of the model; empty: the default model.
    pub model: String,
    /// What to judge.
    pub request: RerankRequest,
    /// Tell the best so many.
    pub top_n: usize,
    /// Tell the documents with their scores.
    pub return_documents: bool,
    /// Answer in the form of text-embeddings-inference.
    pub plain: bool,
}

/// Translates a request's body.
///
/// # Errors
/// [`Fault`] naming the field.
pub fn parse(body: &[u8]) -> Result<RerankCall, Fault> {
    let wire: WireRequest = strict::parse(body)?;
    let query = wire.query.ok_or_else(|| Fault::invalid("query", "is missing"))?;
    if query.trim().is_empty() {
        return Err(Fault::invalid("query", "must not be empty"));
    }
    let plain = wire.documents.is_none() && wire.texts.is_some();
    let field = if plain { "texts" } else { "documents" };
    let documents = wire.documents.or(wire.texts).ok_or_else(|| Fault::invalid("documents", "is missing"))?;
    if documents.is_empty() || documents.len() > MAX_DOCUMENTS {
        let message = format!("must hold 1 to {MAX_DOCUMENTS} documents, got {}", documents.len());
        return Err(Fault::invalid(field, message));
    }
    let documents = documents.into_iter().enumerate().map(|(i, document)| text(document, field, i));
    let documents: Vec<String> = documents.collect::<Result<_, _>>()?;
    let top_n = wire.top_n.unwrap_or(documents.len());
    if top_n == 0 {
        return Err(Fault::invalid("top_n", "must be at least 1"));
    }
    let mut request = RerankRequest::new(query, documents);
    request.truncate = wire.truncate.unwrap_or(true);
    let return_documents = wire.return_documents.or(wire.return_text).unwrap_or(false);
    Ok(RerankCall { model: wire.model.unwrap_or_default(), request, top_n, return_documents, plain })
}

fn text(document: Value, field: &str, index: usize) -> Result<String, Fault> {
    let text = match document {
        Value::String(text) => Some(text),
        Value::Object(mut fields) => match fields.remove("text") {
            Some(Value::String(text)) => Some(text),
            _ => None,
        },
        _ => None,
    };
    let wrong = |message: &str| Fault::invalid(format!("{field}[{index}]"), message);
    match text {
        Some(text) if text.trim().is_empty() => Err(wrong("must not be empty")),
        Some(text) => Ok(text),
        None => Err(wrong("must be a string, or an object with the string text")),
    }
}

/// The answer's body: the best first; equals in the order they came in.
#[must_use]
pub fn answer(ranking: &Ranking, call: &RerankCall, documents: &[String], model: &str) -> Value {
    let mut order: Vec<usize> = (0..ranking.scores.len()).collect();
    order.sort_by(|a, b| ranking.scores[*b].total_cmp(&ranking.scores[*a]));
    let results = order.into_iter().take(call.top_n).map(|index| {
        let mut result = Map::new();
        result.insert("index".into(), index.into());
        let score = f64::from(ranking.scores[index]);
        result.insert(if call.plain { "score" } else { "relevance_score" }.into(), score.into());
        if call.return_documents
            && let Some(text) = documents.get(index)
        {
            if call.plain {
                result.insert("text".into(), text.as_str().into());
            } else {
                result.insert("document".into(), json!({"text": text}));
            }
        }
        Value::Object(result)
    });
    let results: Vec<Value> = results.collect();
    if call.plain {
        return Value::Array(results);
    }
    let usage = ranking.usage;
    json!({
        "model": model,
        "object": "list",
        "results": results,
        "usage": {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.total()},
    })
}

#[cfg(test)]
mod tests {
    use llmo_core::model::Usage;

    use super::*;

    #[test]
    fn the_best_come_first_and_no_more_than_wanted() {
        let body = br#"{"query": "q", "documents": ["a", {"text": "b"}, "c"], "top_n": 2, "return_documents": true}"#;
        let call = parse(body).unwrap();
        let documents = call.request.documents.clone();
        let ranking = Ranking::new(vec![0.25, 0.5, 0.5], Usage::new(9, 0));
        let body = answer(&ranking, &call, &documents, "m");
        let expected = json!([
            {"index": 1, "relevance_score": 0.5, "document": {"text": "b"}},
            {"index": 2, "relevance_score": 0.5, "document": {"text": "c"}},
        ]);
        assert_eq!(body["results"], expected);
        assert_eq!(body["usage"]["total_tokens"], 9);
    }

    #[test]
    fn texts_are_answered_plainly() {
        let call = parse(br#"{"query": "q", "texts": ["a", "b"]}"#).unwrap();
        let ranking = Ranking::new(vec![0.25, 0.5], Usage::default());
        assert_eq!(answer(&ranking, &call, &[], "m"), json!([{"index": 1, "score": 0.5}, {"index": 0, "score": 0.25}]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let many = format!(r#"{{"query": "q", "documents": [{}"x"]}}"#, r#""x","#.repeat(MAX_DOCUMENTS));
        for (bad, says) in [
            (r#"{"documents": ["a"]}"#, "query"),
            (r#"{"query": " ", "documents": ["a"]}"#, "query"),
            (r#"{"query": "q"}"#, "documents"),
            (r#"{"query": "q", "documents": []}"#, "documents"),
            (&many, "1024"),
            (r#"{"query": "q", "documents": ["a", 7]}"#, "documents[1]"),
            (r#"{"query": "q", "documents": ["a", ""]}"#, "documents[1]"),
            (r#"{"query": "q", "documents": [{"title": "x"}]}"#, "documents[0]"),
            (r#"{"query": "q", "documents": ["a"], "top_n": 0}"#, "top_n"),
            (r#"{"query": "q", "documents": ["a"], "top_n": -1}"#, "top_n"),
        ] {
            let error = parse(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{says}: {error}");
        }
    }
}
