//! Rules of fallbacks.

use llmo_backends::sim::{Fault, SimModel, SimOptions};

use super::*;

fn chain(sims: &[&Arc<SimModel>], refused: Option<ModelError>) -> Chain {
    let links = sims.iter().map(|sim| -> Arc<dyn Model> { Arc::clone(sim) as _ }).collect();
    Chain::new("r".into(), links, refused, RouteMetrics::default())
}

fn sim(name: &str) -> Arc<SimModel> {
    Arc::new(SimModel::new(SimOptions::named(name)))
}

fn ask() -> GenerateRequest {
    GenerateRequest::ask("hello").max_tokens(3)
}

#[tokio::test]
async fn the_next_model_answers_when_one_fails_before_its_first_token_and_says_so() {
    let (first, second) = (sim("first"), sim("second"));
    let chain = chain(&[&first, &second], None);
    let stream = chain.generate(ask()).await.expect("it works");
    assert_eq!(stream.origin.model, None);
    first.faults().next(1, Fault::unavailable());
    let stream = chain.generate(ask()).await.expect("the second works");
    assert_eq!(stream.origin.model.as_deref(), Some("second"));
    stream.collect_all().await.expect("whole");
    assert_eq!(chain.metrics.fallbacks("r", "model_unavailable"), 1);
}

#[tokio::test]
async fn when_all_fail_the_first_refusal_is_told() {
    let (first, second) = (sim("first"), sim("second"));
    first.faults().next(1, Fault::unavailable());
    second.faults().next(1, Fault::unavailable());
    let refused = ModelError::Overloaded { reason: "r".into(), retry_after: std::time::Duration::from_secs(1) };
    let error = chain(&[&first, &second], Some(refused)).generate(ask()).await.expect_err("nobody can");
    assert!(matches!(error, ModelError::Overloaded { .. }), "{error}");
}

#[tokio::test]
async fn a_wrong_request_is_not_tried_elsewhere() {
    let (first, second) = (sim("first"), sim("second"));
    let chain = chain(&[&first, &second], None);
    assert!(matches!(chain.generate(ask().max_tokens(0)).await, Err(ModelError::InvalidRequest { .. })));
    assert_eq!(chain.metrics.fallbacks("r", "invalid_request"), 0);
}

#[tokio::test]
async fn what_belongs_to_one_model_never_goes_to_another() {
    let (first, second) = (sim("first"), sim("second"));
    let chain = chain(&[&first, &second], None);
    first.faults().next(1, Fault::unavailable());
    let tokens = GenerateRequest::new(Prompt::Tokens(vec![1, 2])).max_tokens(3);
    assert!(chain.generate(tokens).await.is_err());
    let gone = self::chain(&[&second], Some(ModelError::unavailable("first is away")));
    assert!(gone.embed(EmbedRequest::new(["x"])).await.is_err());
    assert!(gone.tokenize("x", TokenizeOptions::default()).await.is_err());
    assert_eq!(gone.generate(ask()).await.expect("the second works").origin.model, None);
    assert_eq!(gone.info().id, "second");
}
