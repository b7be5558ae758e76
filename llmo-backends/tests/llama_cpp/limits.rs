//! What is refused, and that the next request is fine.

use llmo_core::model::{EmbedRequest, Prompt, TokenId};
use llmo_core::{GenerateRequest, Model, ModelError};

use crate::support::{run, shared};

async fn refused(request: GenerateRequest) -> ModelError {
    let model = shared();
    let error = match model.generate(request).await {
        Err(error) => error,
        Ok(_) => panic!("accepted"),
    };
    run(&model, GenerateRequest::complete("Still").max_tokens(1)).await.expect("the next request is fine");
    error
}

fn is_invalid(error: &ModelError, name: &str) -> bool {
    matches!(error, ModelError::InvalidRequest { param, .. } if param == name)
}

#[tokio::test]
async fn numbers_that_are_none_or_out_of_range_are_refused_by_name() {
    for bad in [f32::NAN, f32::INFINITY, -1.0, 99.0] {
        let mut request = GenerateRequest::complete("x");
        request.sampling.temperature = bad;
        assert!(is_invalid(&refused(request).await, "temperature"));
        let mut request = GenerateRequest::complete("x");
        request.sampling.top_p = bad;
        assert!(is_invalid(&refused(request).await, "top_p"));
    }
    assert!(is_invalid(&refused(GenerateRequest::complete("x").max_tokens(0)).await, "max_tokens"));
}

#[tokio::test]
async fn tokens_outside_the_vocabulary_are_refused() {
    let vocabulary = shared().info().vocab_size;
    for token in [vocabulary, 0x7FFF_FFFF, 0x8000_0000, TokenId::MAX] {
        let request = GenerateRequest::new(Prompt::Tokens(vec![1, token]));
        assert!(is_invalid(&refused(request).await, "prompt"));
        let mut request = GenerateRequest::complete("x");
        request.sampling.logit_bias = vec![(token, 1.0)];
        assert!(is_invalid(&refused(request).await, "logit_bias"));
        assert!(shared().detokenize(&[token]).await.is_err());
    }
    let mut request = GenerateRequest::new(Prompt::Tokens(vec![vocabulary - 1])).max_tokens(1);
    request.sampling.logit_bias = vec![(vocabulary - 1, 1.0)];
    run(&shared(), request).await.expect("the last token is inside");
}

#[tokio::test]
async fn empty_prompts_are_refused() {
    assert!(is_invalid(&refused(GenerateRequest::complete("")).await, "prompt"));
    assert!(is_invalid(&refused(GenerateRequest::new(Prompt::Tokens(vec![]))).await, "prompt"));
    assert!(is_invalid(&refused(GenerateRequest::new(Prompt::Chat(vec![]))).await, "messages"));
}

#[tokio::test]
async fn overflow_tells_the_counts_and_nothing_is_cut_silently() {
    let overflow = |error: ModelError| match error {
        ModelError::ContextOverflow { prompt_tokens, max_tokens, context_length } => {
            (prompt_tokens, max_tokens, context_length)
        }
        other => panic!("{other:?}"),
    };
    let tokens = |n| GenerateRequest::new(Prompt::Tokens(vec![28; n]));
    assert_eq!(overflow(refused(tokens(1020).max_tokens(5)).await), (1020, 5, 1024));
    assert_eq!(overflow(refused(tokens(1024)).await), (1024, 1, 1024));
    assert_eq!(overflow(refused(tokens(90_000).max_tokens(u32::MAX)).await), (90_000, u64::from(u32::MAX), 1024));
}

#[tokio::test]
async fn without_max_tokens_the_context_is_the_limit() {
    let mut request = GenerateRequest::new(Prompt::Tokens(vec![28; 1000]));
    // Never ends by itself.
    request.sampling.logit_bias = vec![(28, 100.0)];
    let (answer, finish) = run(&shared(), request).await.unwrap();
    assert_eq!((answer.tokens.len(), finish.usage.total()), (24, 1024));
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_refused_before_anything_runs() {
    let now = std::time::Instant::now();
    let request = GenerateRequest::complete("x").deadline_after(now, std::time::Duration::ZERO);
    assert!(matches!(refused(request).await, ModelError::DeadlineExceeded { .. }));
}

#[tokio::test]
async fn embeddings_are_not_supported() {
    let error = shared().embed(EmbedRequest::new(["x"])).await.unwrap_err();
    assert!(matches!(error, ModelError::Unsupported { .. }));
}
