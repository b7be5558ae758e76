//! Sentence embeddings against reference vectors, which `golden/minilm_reference.py` computed in numpy.

#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // Test code outside of test functions.

mod candle_models;

use std::sync::Arc;
use std::time::{Duration, Instant};

use llmo_backends::candle::bert::BertEmbedder;
use llmo_core::conformance::model::{ModelSuite, check};
use llmo_core::model::{RerankRequest, TokenizeOptions};
use llmo_core::{EmbedRequest, GenerateRequest, Model, ModelError};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    text: String,
    tokens: Vec<u32>,
    vector: Vec<f32>,
}

fn minilm() -> Option<BertEmbedder> {
    let folder = candle_models::fetched("minilm-l6")?;
    Some(BertEmbedder::load(&folder, "minilm-l6").unwrap())
}

fn references() -> Vec<Reference> {
    serde_json::from_str(include_str!("golden/minilm_embeddings.json")).unwrap()
}

async fn embed(model: &BertEmbedder, texts: &[&str]) -> Vec<Vec<f32>> {
    model.embed(EmbedRequest::new(texts.iter().copied())).await.unwrap().vectors
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum() };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[tokio::test]
async fn minilm_keeps_the_contract_of_models() {
    let Some(model) = minilm() else { return };
    let suite =
        ModelSuite::default().meanings("A man eats pasta.", "Somebody has spaghetti.", "The engine broke down.");
    check(Arc::new(model), suite).await;
}

#[tokio::test]
async fn vectors_are_those_of_the_reference_alone_and_in_a_batch() {
    let Some(model) = minilm() else { return };
    let references = references();
    let texts: Vec<&str> = references.iter().map(|reference| reference.text.as_str()).collect();
    let together = embed(&model, &texts).await;
    for (reference, batched) in references.iter().zip(&together) {
        let alone = embed(&model, &[&reference.text]).await.remove(0);
        for vector in [&alone, batched] {
            let away = 1.0 - cosine(vector, &reference.vector);
            assert!(away < 1e-5, "{:?} is {away} away", reference.text);
            let length: f32 = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            assert!((length - 1.0).abs() < 1e-5, "{:?} has the length {length}", reference.text);
        }
    }
}

#[tokio::test]
async fn tokens_are_those_of_the_reference() {
    let Some(model) = minilm() else { return };
    for reference in references() {
        let tokens = model.tokenize(&reference.text, TokenizeOptions::with_special()).await.unwrap();
        assert_eq!(tokens, reference.tokens, "{:?}", reference.text);
    }
    let words = model.tokenize("a cat", TokenizeOptions::default()).await.unwrap();
    assert_eq!(model.detokenize(&words).await.unwrap(), "a cat");
    assert_eq!(model.detokenize(&[40_000]).await.unwrap_err().code(), "invalid_request");
}

#[tokio::test]
async fn paraphrases_are_closer_than_strangers() {
    let Some(model) = minilm() else { return };
    let texts = [
        "How do I reset my password?",
        "I forgot my login credentials and want new ones.",
        "The recipe needs two eggs and some flour.",
        "Baking this cake takes flour and a pair of eggs.",
    ];
    let vectors = embed(&model, &texts).await;
    let [reset, forgot, recipe, cake] = &vectors[..] else { panic!() };
    let near = cosine(reset, forgot).min(cosine(recipe, cake));
    let far = [cosine(reset, recipe), cosine(reset, cake), cosine(forgot, recipe), cosine(forgot, cake)];
    assert!(far.iter().all(|far| far + 0.2 < near), "{near} and {far:?}");
}

#[tokio::test]
async fn results_are_in_the_order_of_the_texts_whatever_their_lengths() {
    let Some(model) = minilm() else { return };
    let texts: Vec<String> = (0..60).map(|i| format!("number {i} {}", "word ".repeat(i * 7 % 90))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = embed(&model, &texts).await;
    for i in [0, 17, 42, 59] {
        let alone = embed(&model, &texts[i..=i]).await;
        assert!(1.0 - cosine(&alone[0], &together[i]) < 1e-5, "text {i}");
    }
}

#[tokio::test]
async fn leading_dimensions_have_unit_length_and_the_same_direction() {
    let Some(model) = minilm() else { return };
    let mut request = EmbedRequest::new(["a cat"]);
    request.dimensions = Some(64);
    let short = model.embed(request.clone()).await.unwrap().vectors.remove(0);
    let long = embed(&model, &["a cat"]).await.remove(0);
    assert_eq!((short.len(), long.len()), (64, 384));
    assert!((cosine(&short, &long[..64]) - 1.0).abs() < 1e-6);
    assert!((short.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    for wrong in [0, 385] {
        request.dimensions = Some(wrong);
        let error = model.embed(request.clone()).await.unwrap_err();
        assert!(error.to_string().contains("dimensions"), "{error}");
    }
}

#[tokio::test]
async fn a_text_that_is_too_long_is_refused_with_the_counts_or_cut_when_asked() {
    let Some(model) = minilm() else { return };
    let long = "word ".repeat(300);
    let error = model.embed(EmbedRequest::new([long.clone()])).await.unwrap_err();
    assert!(matches!(error, ModelError::ContextOverflow { prompt_tokens: 302, context_length: 256, .. }), "{error:?}");
    let mut cut = EmbedRequest::new([long]);
    cut.truncate = true;
    let embeddings = model.embed(cut).await.unwrap();
    assert_eq!(embeddings.usage.prompt_tokens, 256);
    let exact = embed(&model, &["word ".repeat(254).trim()]).await;
    assert!(1.0 - cosine(&embeddings.vectors[0], &exact[0]) < 1e-6);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let Some(model) = minilm() else { return };
    assert_eq!(model.embed(EmbedRequest::new([""; 0])).await.unwrap_err().code(), "invalid_request");
    assert_eq!(model.embed(EmbedRequest::new(["x"; 2049])).await.unwrap_err().code(), "invalid_request");
    assert_eq!(model.generate(GenerateRequest::ask("Hello?")).await.unwrap_err().code(), "unsupported");
    let mut late = EmbedRequest::new(vec!["word ".repeat(200); 64]);
    late.deadline = Some(Instant::now() + Duration::from_millis(1));
    assert_eq!(model.embed(late).await.unwrap_err().code(), "deadline_exceeded");
}

#[tokio::test]
async fn damaged_weights_are_refused_before_candle_sees_them() {
    let Some(folder) = candle_models::fetched("minilm-l6") else { return };
    let copy = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json"] {
        std::fs::copy(folder.join(name), copy.path().join(name)).unwrap();
    }
    let weights = copy.path().join("model.safetensors");
    for (about, bytes) in [
        ("empty", Vec::new()),
        ("a header of 2^63 bytes", [&(1_u64 << 63).to_le_bytes()[..], b"{}"].concat()),
        ("no tensors", [&2_u64.to_le_bytes()[..], b"{}"].concat()),
        ("not JSON", [&4_u64.to_le_bytes()[..], b"{{{{"].concat()),
    ] {
        std::fs::write(&weights, bytes).unwrap();
        let error = BertEmbedder::load(copy.path(), "m").expect_err(about);
        assert_eq!(error.code(), "model_corrupt", "{about}: {error}");
    }
}

/// `cargo test --release --test candle_bert -- --ignored --nocapture speed`
#[tokio::test]
#[ignore = "a measurement"]
async fn speed() {
    let Some(model) = minilm() else { return };
    for (words, texts) in [(8, 512), (60, 128), (250, 32)] {
        let texts = vec!["word ".repeat(words); texts];
        let started = Instant::now();
        let embeddings = model.embed(EmbedRequest::new(texts.clone())).await.unwrap();
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{words} words: {:.0} texts/s, {:.0} tokens/s",
            texts.len() as f64 / seconds,
            embeddings.usage.prompt_tokens as f64 / seconds
        );
    }
}

/// Random weights, with scores that `golden/cross_encoder_reference.py` computed in numpy.
fn cross_encoder() -> BertEmbedder {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cross_encoder");
    BertEmbedder::load(&folder, "judge").unwrap()
}

#[derive(Deserialize)]
struct Judged {
    query: String,
    documents: Vec<String>,
    scores: Vec<f32>,
    tokens: u64,
}

#[tokio::test]
async fn a_cross_encoder_scores_pairs_as_the_reference_does() {
    let model = cross_encoder();
    assert!(model.info().capabilities.rerank && !model.info().capabilities.embed);
    let expected: Vec<Judged> = serde_json::from_str(include_str!("golden/cross_encoder/expected.json")).unwrap();
    for judged in expected {
        let request = RerankRequest::new(judged.query.clone(), judged.documents.clone());
        let ranking = model.rerank(request).await.unwrap();
        for (score, wanted) in ranking.scores.iter().zip(&judged.scores) {
            assert!((score - wanted).abs() < 1e-5, "{}: {:?} {:?}", judged.query, ranking.scores, judged.scores);
        }
        assert_eq!((ranking.scores.len(), ranking.usage.prompt_tokens), (judged.scores.len(), judged.tokens));
    }
    let mut whole = RerankRequest::new("red car", ["mat ".repeat(30)]);
    whole.truncate = false;
    assert_eq!(model.rerank(whole).await.unwrap_err().code(), "context_length_exceeded");
    assert_eq!(model.embed(EmbedRequest::new(["x"])).await.unwrap_err().code(), "unsupported");
    assert_eq!(model.rerank(RerankRequest::new("x", [""; 0])).await.unwrap_err().code(), "invalid_request");
}

#[tokio::test]
async fn an_embedding_model_ranks_by_the_cosine_of_its_vectors() {
    let Some(model) = minilm() else { return };
    let documents = ["Bake it for an hour.", "Use the link on the login page to get a new one.", "Cats purr."];
    let query = "How do I reset my password?";
    let ranking = model.rerank(RerankRequest::new(query, documents)).await.unwrap();
    let vectors = embed(&model, &[query, documents[0], documents[1], documents[2]]).await;
    for (score, vector) in ranking.scores.iter().zip(&vectors[1..]) {
        assert!((f64::from(*score) - cosine(&vectors[0], vector)).abs() < 1e-5);
    }
    assert!(ranking.scores[1] > ranking.scores[0].max(ranking.scores[2]) + 0.1, "{:?}", ranking.scores);
}
