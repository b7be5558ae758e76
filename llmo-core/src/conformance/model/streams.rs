//! Reading a stream while checking its form.

use std::time::Duration;

use futures::StreamExt;

use crate::conformance::wait::{in_time, ok};
use crate::model::{Delta, Event, Finish, GenerateRequest, Model};

/// A whole answer.
pub(super) struct Answer {
    /// All deltas joined.
    pub(super) whole: Delta,
    pub(super) finish: Finish,
}

/// Deltas, then exactly one finish, then nothing; the counts agree with the tokens.
pub(super) async fn read(rule: &str, model: &dyn Model, request: GenerateRequest, patience: Duration) -> Answer {
    let limit = request.max_tokens;
    let shows_tokens = request.token_ids && model.info().capabilities.token_ids;
    let mut stream = ok(rule, in_time(rule, patience, model.generate(request)).await);
    let mut whole = Delta::default();
    let finish = loop {
        match in_time(rule, patience, stream.next()).await {
            Some(Ok(Event::Delta(delta))) => {
                whole.text.push_str(&delta.text);
                whole.tokens.extend(delta.tokens);
                whole.logprobs.extend(delta.logprobs);
            }
            Some(Ok(Event::Finish(finish))) => break finish,
            Some(Err(error)) => panic!("{rule}: the stream failed: {error:?}"),
            None => panic!("{rule}: the stream ended without a finish"),
        }
    };
    let after = in_time(rule, patience, stream.next()).await;
    assert!(after.is_none(), "{rule}: {after:?} came after the finish");

    let usage = finish.usage;
    assert!(usage.prompt_tokens > 0, "{rule}: no prompt tokens were counted");
    assert!(usage.cached_tokens <= usage.prompt_tokens, "{rule}: more cached tokens than prompt tokens: {usage:?}");
    if let Some(limit) = limit {
        assert!(usage.completion_tokens <= u64::from(limit), "{rule}: {usage:?} for max_tokens {limit}");
    }
    if shows_tokens {
        let shown = whole.tokens.len() as u64;
        assert_eq!(usage.completion_tokens, shown, "{rule}: the usage differs from the tokens in the deltas");
    }
    Answer { whole, finish }
}
