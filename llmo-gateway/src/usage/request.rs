//! What belongs to one request: its choices, which end one after the other, and its one line.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use futures::future::BoxFuture;
use llmo_core::GenerateRequest;
use llmo_core::model::{Finish, FinishReason, Prompt, Usage};
use llmo_server::http::App;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::ledger::Pending;
use super::{Entry, Ledger};

tokio::task_local! {
    /// The request that this task answers. Generations are begun on the task of the handler.
    static CURRENT: Bill;
}

/// The layer that keeps together what is generated for one request.
pub fn around(ledger: Ledger) -> impl Fn(Request, &App) -> BoxFuture<'static, Response> {
    move |request, app| Box::pin(Bill::new(ledger.clone()).during(app.answer(request)))
}

/// The line of a request, in the making. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Bill {
    ledger: Ledger,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    entry: Entry,
    /// Parts that have not ended.
    running: usize,
    /// Prompts that have been counted.
    prompts: Vec<u64>,
    /// How far down the list of endings the worst part is.
    worst: Option<u8>,
}

/// One generation of a request. Dropped without an end, its caller has left.
#[derive(Debug)]
pub(super) struct Part {
    bill: Bill,
    prompt: u64,
    /// Tokens so far.
    pub(super) tokens: u64,
    ended: bool,
}

impl Bill {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { ledger, open: Arc::default() }
    }

    /// Runs `work` as the answer to this request.
    pub(super) async fn during<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }

    /// That of the request at hand; one of its own where nobody said which that is.
    pub(super) fn current(ledger: &Ledger) -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_else(|_| Self::new(ledger.clone()))
    }

    /// One more generation has begun.
    pub(super) fn part(&self, prompt: u64, about: impl FnOnce(&mut Entry)) -> Part {
        let mut open = self.open.lock();
        open.running += 1;
        if open.entry.model.is_empty() {
            "generate".clone_into(&mut open.entry.operation);
            about(&mut open.entry);
        }
        Part { bill: self.clone(), prompt, tokens: 0, ended: false }
    }
}

impl Part {
    /// It ended as it should. The line, if this was the last part of the request.
    pub(super) fn finished(self, finish: &Finish) -> Option<Pending> {
        let (rank, reason) = match finish.reason {
            FinishReason::Length => (2, "length"),
            FinishReason::ToolCalls => (1, "tool_calls"),
            _ => (0, "stop"),
        };
        self.end(Some(finish.usage), rank, reason)
    }

    /// It failed.
    pub(super) fn failed(self, code: &str) -> Option<Pending> {
        self.end(None, 4, code)
    }

    fn end(mut self, usage: Option<Usage>, rank: u8, how: &str) -> Option<Pending> {
        self.close(usage, rank, how)
    }

    fn close(&mut self, usage: Option<Usage>, rank: u8, how: &str) -> Option<Pending> {
        self.ended = true;
        let mut open = self.bill.open.lock();
        open.running -= 1;
        open.entry.completion_tokens += usage.map_or(self.tokens, |usage| usage.completion_tokens);
        if let Some(usage) = usage
            && !open.prompts.contains(&self.prompt)
        {
            open.prompts.push(self.prompt);
            *open.entry.prompt_tokens.get_or_insert(0) += usage.prompt_tokens;
            open.entry.cached_tokens += usage.cached_tokens;
        }
        if open.worst.is_none_or(|worst| rank > worst) {
            open.worst = Some(rank);
            how.clone_into(&mut open.entry.ended);
        }
        if open.running > 0 {
            return None;
        }
        let entry = std::mem::take(&mut *open).entry;
        drop(open);
        self.bill.ledger.record(entry)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.ended {
            // Nobody is there who could wait.
            drop(self.close(None, 3, "cancelled"));
        }
    }
}

/// Equal for equal prompts.
pub(super) fn prompt_of(request: &GenerateRequest) -> u64 {
    match &request.prompt {
        Prompt::Chat(messages) => messages
            .iter()
            .fold(0, |hash, message| xxh3_64_with_seed(message.content.as_bytes(), hash ^ message.role as u64)),
        Prompt::Text(text) => xxh3_64_with_seed(text.as_bytes(), 1),
        Prompt::Tokens(tokens) => tokens.iter().fold(2, |hash, token| xxh3_64_with_seed(&token.to_le_bytes(), hash)),
        _ => 3,
    }
}
