//! Embeddings.

use super::Subject;
use crate::conformance::wait::{in_time, ok};
use crate::model::EmbedRequest;

/// Vectors of the same text may differ a little when they are computed in another batch.
const SAME: f32 = 0.999;

pub(super) async fn check(subject: &Subject) {
    vectors_have_unit_length_and_the_order_of_the_input(subject).await;
    fewer_dimensions_are_of_unit_length_again(subject).await;
    similar_texts_are_closer_than_different_ones(subject).await;
}

async fn embed(subject: &Subject, rule: &str, request: EmbedRequest) -> Vec<Vec<f32>> {
    let count = request.input.len();
    let embeddings = ok(rule, in_time(rule, subject.options.patience, subject.model.embed(request)).await);
    assert_eq!(embeddings.vectors.len(), count, "{rule}: the number of vectors");
    assert!(embeddings.usage.prompt_tokens > 0, "{rule}: no tokens were counted");
    for vector in &embeddings.vectors {
        let length = dot(vector, vector).sqrt();
        assert!((length - 1.0).abs() < 1e-3, "{rule}: a vector of length {length}");
        assert_eq!(vector.len(), embeddings.vectors[0].len(), "{rule}: vectors of different dimensions");
    }
    embeddings.vectors
}

async fn vectors_have_unit_length_and_the_order_of_the_input(subject: &Subject) {
    let rule = "one vector of unit length an input, in order";
    let texts = ["A short text.", "Cats and dogs.", "The third text of this test is somewhat longer than the others."];
    let together = embed(subject, rule, EmbedRequest::new(texts)).await;
    for (text, vector) in texts.iter().zip(&together) {
        let alone = embed(subject, rule, EmbedRequest::new([*text])).await;
        let closeness = dot(vector, &alone[0]);
        assert!(closeness > SAME, "{rule}: {text:?} alone and with others: {closeness}");
    }
}

async fn fewer_dimensions_are_of_unit_length_again(subject: &Subject) {
    let rule = "fewer dimensions are the leading ones, of unit length again";
    let whole = embed(subject, rule, EmbedRequest::new(["some text"])).await.remove(0);
    let keep = whole.len() / 2;
    let mut request = EmbedRequest::new(["some text"]);
    request.dimensions = u32::try_from(keep).ok();
    let part = embed(subject, rule, request).await.remove(0);
    assert_eq!(part.len(), keep, "{rule}");
    let closeness = dot(&part, &whole[..keep]) / dot(&whole[..keep], &whole[..keep]).sqrt();
    assert!(closeness > SAME, "{rule}: {closeness}");
}

async fn similar_texts_are_closer_than_different_ones(subject: &Subject) {
    let rule = "texts that mean the same are closer than texts that don't";
    let Some(meanings) = &subject.options.meanings else { return };
    let vectors = embed(subject, rule, EmbedRequest::new(meanings.iter())).await;
    let (same, other) = (dot(&vectors[0], &vectors[1]), dot(&vectors[0], &vectors[2]));
    assert!(same > other, "{rule}: {same} is not above {other} for {meanings:?}");
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
