//! The suite for models. What a model says it can do decides which parts run.

mod cancellation;
mod concurrency;
mod context;
mod embeddings;
mod generation;
mod logprobs;
mod refusals;
mod stops;
mod streams;
mod tokens;
mod unsupported;

use std::sync::Arc;
use std::time::Duration;

use super::wait;
use crate::model::{GenerateRequest, Model};
use streams::Answer;

/// What the suite has to know of the model.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ModelSuite {
    /// A text that the model continues, greedily, with at least `tokens` tokens.
    pub prompt: String,
    /// Tokens that most tests generate. At least 6.
    pub tokens: u32,
    /// Longest wait for anything.
    pub patience: Duration,
    /// The same tokens come out whatever else is computed in the same batch, and whether a token's predecessors were
    /// prefilled or decoded. False where arithmetic depends on the batch.
    pub exact: bool,
    /// `load` knows its slots. False for models far away that say nothing.
    pub load: bool,
    /// A finish names the stop string that ended it. False for upstreams that don't tell.
    pub stop_named: bool,
    /// Requests in flight at once in the test of concurrency. The model must be able to hold them, in slots or a queue.
    pub concurrent: usize,
    /// Two texts that mean the same and one that doesn't, for models that embed.
    pub meanings: Option<[String; 3]>,
}

impl Default for ModelSuite {
    fn default() -> Self {
        Self {
            prompt: "Once upon a time, there was a little".into(),
            tokens: 12,
            patience: Duration::from_secs(60),
            exact: true,
            load: true,
            stop_named: true,
            concurrent: 4,
            meanings: None,
        }
    }
}

impl ModelSuite {
    /// Two texts that mean the same, and one that means something else.
    #[must_use]
    pub fn meanings(mut self, one: &str, same: &str, other: &str) -> Self {
        self.meanings = Some([one.into(), same.into(), other.into()]);
        self
    }
}

/// Checks that a model keeps the trait's contract.
///
/// # Panics
/// If it doesn't.
pub async fn check(model: Arc<dyn Model>, options: ModelSuite) {
    let subject = Subject { model, options };
    let can = subject.model.info().capabilities;
    unsupported::check(&subject).await;
    if can.generate {
        generation::check(&subject).await;
        stops::check(&subject).await;
        refusals::check(&subject).await;
        context::check(&subject).await;
        cancellation::check(&subject).await;
        concurrency::check(&subject).await;
    }
    if can.generate && can.logprobs {
        logprobs::check(&subject).await;
    }
    if can.tokenize {
        tokens::check(&subject).await;
    }
    if can.embed {
        embeddings::check(&subject).await;
    }
}

/// The model under test.
struct Subject {
    model: Arc<dyn Model>,
    options: ModelSuite,
}

impl Subject {
    /// The usual request: greedy, `options.tokens` tokens, token ids asked for.
    fn request(&self) -> GenerateRequest {
        let mut request = GenerateRequest::complete(&self.options.prompt).max_tokens(self.options.tokens);
        request.token_ids = true;
        // Each test means the model itself, not what a cache before it remembers.
        request.cache = crate::model::CacheUse::Off;
        request
    }

    /// Reads the answer to its end, checking the stream on the way.
    async fn answer(&self, rule: &str, request: GenerateRequest) -> Answer {
        streams::read(rule, self.model.as_ref(), request, self.options.patience).await
    }

    /// A good request works: what was done before has not harmed the model.
    async fn still_works(&self, after: &str) {
        let rule = format!("the next request works after {after}");
        self.answer(&rule, self.request()).await;
    }

    /// Waits until no slot is taken any more.
    async fn idle(&self, rule: &str) {
        if self.options.load {
            wait::until(rule, self.options.patience, async || self.model.load().in_flight() == 0).await;
        }
    }
}
