//! Reranking, to and from the wire (Jina's and Cohere's form). Pure.

use llmo_core::model::{ModelError, Ranking, RerankRequest, Result, Usage};
use serde::Deserialize;
use serde_json::json;

use super::request::{Post, Upstream};

/// A request to judge documents.
#[must_use]
pub fn rerank(request: &RerankRequest, upstream: Upstream<'_>) -> Post {
    let mut body = json!({
        "model": upstream.model,
        "query": request.query,
        "documents": request.documents,
        "top_n": request.documents.len(),
        "return_documents": false,
    });
    if upstream.extensions {
        body["truncate"] = request.truncate.into();
    }
    Post::json("/v1/rerank", &body)
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Judged>,
    #[serde(default)]
    usage: WireUsage,
}

#[derive(Deserialize)]
struct Judged {
    index: usize,
    #[serde(alias = "score")]
    relevance_score: f32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireUsage {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// Reads scores: one for each document, in the documents' order.
///
/// # Errors
/// [`ModelError::Upstream`] if the answer is anything else.
pub fn read_ranking(body: &[u8], documents: usize) -> Result<Ranking> {
    let bad = |message: String| ModelError::Upstream { message, started: false };
    let answer: Answer = serde_json::from_slice(body).map_err(|e| bad(format!("unreadable ranking: {e}")))?;
    let mut scores = vec![None; documents];
    for judged in answer.results {
        let slot = scores.get_mut(judged.index).ok_or_else(|| bad("a score for a document that isn't there".into()))?;
        *slot = Some(judged.relevance_score);
    }
    let scores: Option<Vec<f32>> = scores.into_iter().collect();
    let scores = scores.ok_or_else(|| bad("a document without a score".into()))?;
    Ok(Ranking::new(scores, Usage::new(answer.usage.prompt_tokens.max(answer.usage.total_tokens), 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_come_in_the_order_of_the_documents() {
        let body =
            br#"{"results":[{"index":1,"relevance_score":0.9},{"index":0,"score":-2}],"usage":{"total_tokens":7}}"#;
        let ranking = read_ranking(body, 2).unwrap();
        assert_eq!((ranking.scores.as_slice(), ranking.usage.prompt_tokens), (&[-2.0, 0.9][..], 7));
    }

    #[test]
    fn missing_and_strange_scores_are_refused() {
        for body in [
            r#"{"results":[{"index":0,"relevance_score":1}]}"#,
            r#"{"results":[{"index":0,"relevance_score":1},{"index":2,"relevance_score":1}]}"#,
            r#"{"results":[{"index":0,"relevance_score":"x"},{"index":1,"relevance_score":1}]}"#,
            "<html>",
        ] {
            let error = read_ranking(body.as_bytes(), 2).unwrap_err();
            assert!(matches!(error, ModelError::Upstream { started: false, .. }), "{body}: {error}");
        }
    }
}
