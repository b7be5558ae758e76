//! Length, repeatability, chat.

use super::Subject;
use crate::conformance::wait::{in_time, refused};
use crate::model::{FinishReason, GenerateRequest, ModelError, Prompt, SamplingParams};

pub(super) async fn check(subject: &Subject) {
    max_tokens_is_respected(subject).await;
    greedy_output_repeats(subject).await;
    seeded_output_repeats(subject).await;
    chat_works_where_it_is_supported(subject).await;
}

async fn max_tokens_is_respected(subject: &Subject) {
    let rule = "max_tokens is respected";
    let mut longer = String::new();
    for tokens in (1..=subject.options.tokens).rev().step_by(5) {
        let answer = subject.answer(rule, subject.request().max_tokens(tokens)).await;
        if answer.finish.usage.completion_tokens == u64::from(tokens) {
            assert_eq!(answer.finish.reason, FinishReason::Length, "{rule}: the reason after {tokens} tokens");
        }
        if longer.is_empty() {
            assert!(!answer.whole.text.is_empty(), "{rule}: no text came; choose another prompt");
            longer = answer.whole.text;
        } else if subject.options.exact {
            let text = answer.whole.text.trim_end_matches(char::REPLACEMENT_CHARACTER);
            assert!(longer.starts_with(text), "{rule}: {text:?} is not how {longer:?} begins");
        }
    }
}

async fn greedy_output_repeats(subject: &Subject) {
    let rule = "greedy output repeats";
    let first = subject.answer(rule, subject.request()).await;
    let second = subject.answer(rule, subject.request()).await;
    assert_eq!(first.whole.text, second.whole.text, "{rule}");
    assert_eq!(first.whole.tokens, second.whole.tokens, "{rule}");
}

async fn seeded_output_repeats(subject: &Subject) {
    let rule = "seeded output repeats";
    let mut sampling = SamplingParams::at_temperature(1.0);
    sampling.top_p = 0.9;
    sampling.seed = Some(42);
    let first = subject.answer(rule, subject.request().sampling(sampling.clone())).await;
    let second = subject.answer(rule, subject.request().sampling(sampling)).await;
    assert_eq!(first.whole.text, second.whole.text, "{rule}");
}

async fn chat_works_where_it_is_supported(subject: &Subject) {
    let rule = "a chat is answered, or refused as unsupported";
    let mut request = GenerateRequest::ask(&subject.options.prompt).max_tokens(subject.options.tokens);
    if subject.model.info().capabilities.chat {
        request.token_ids = true;
        subject.answer(rule, request).await;
        return;
    }
    debug_assert!(matches!(request.prompt, Prompt::Chat(_)));
    let error = refused(rule, in_time(rule, subject.options.patience, subject.model.generate(request)).await);
    assert!(matches!(error, ModelError::Unsupported { .. }), "{rule}: {error:?}");
}
