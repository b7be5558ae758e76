//! Prompts and outputs that don't fit.

use super::Subject;
use crate::conformance::wait::{in_time, refused};
use crate::model::{GenerateRequest, ModelError};

/// The suite makes no longer prompts than this.
const LONGEST: u32 = 1 << 18;

pub(super) async fn check(subject: &Subject) {
    let context = subject.model.info().context_length;
    if context == 0 || context > LONGEST {
        return;
    }
    let rule = "a prompt that doesn't fit the context is refused with the counts";
    let words = "word ".repeat(context as usize + 8);
    let (prompt, ..) = overflow(subject, rule, GenerateRequest::complete(words).max_tokens(1)).await;
    assert!(prompt >= u64::from(context), "{rule}: only {prompt} tokens were counted");

    let rule = "a prompt whose output doesn't fit the context is refused with the counts";
    let (prompt, max_tokens) = overflow(subject, rule, subject.request().max_tokens(context)).await;
    assert!(prompt > 0 && prompt < u64::from(context), "{rule}: {prompt} prompt tokens");
    assert_eq!(max_tokens, u64::from(context), "{rule}");

    subject.still_works("prompts that were too long").await;
    subject.idle("prompts that are too long hold no slot").await;
}

/// The counts of the refusal: tokens of the prompt, and tokens asked for.
async fn overflow(subject: &Subject, rule: &str, request: GenerateRequest) -> (u64, u64) {
    match refused(rule, in_time(rule, subject.options.patience, subject.model.generate(request)).await) {
        ModelError::ContextOverflow { prompt_tokens, max_tokens, context_length } => {
            assert_eq!(context_length, u64::from(subject.model.info().context_length), "{rule}");
            (prompt_tokens, max_tokens)
        }
        other => panic!("{rule}: {other:?}"),
    }
}
