//! One request in the engine's process: a task that asks the model and sends what it says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use llmo_core::model::{Event, GenerateRequest};
use llmo_core::{Model, ModelError};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use super::super::protocol::{Answer, Call, CallId, Report, Run, WINDOW};
use super::super::wire::{Outbox, SendError};

/// The requests that the model is working on.
pub(super) struct Answering {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    model: Arc<dyn Model>,
    outbox: Arc<Outbox>,
    running: Mutex<HashMap<CallId, Running>>,
}

struct Running {
    task: AbortHandle,
    /// Events that the reader has room for.
    room: Arc<Semaphore>,
}

impl Answering {
    pub(super) fn new(model: Arc<dyn Model>, outbox: Arc<Outbox>) -> Self {
        let shared = Arc::new(Shared { model, outbox, running: Mutex::default() });
        Self { shared, tasks: Mutex::default() }
    }

    /// Starts a request.
    pub(super) fn run(&self, run: Run) {
        let Run { id, time, mut call } = run;
        call.set_deadline(time.and_then(|time| Instant::now().checked_add(time)));
        let room = Arc::new(Semaphore::new(WINDOW as usize));
        let mut running = self.shared.running.lock();
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        let verdict = Verdict { shared: Arc::clone(&self.shared), id, open: true };
        let task = tasks.spawn(work(verdict, call, Arc::clone(&room)));
        running.insert(id, Running { task, room });
    }

    /// Nobody waits for it any more. The slot is free within a decode step.
    pub(super) fn cancel(&self, id: CallId) {
        if let Some(running) = self.shared.running.lock().remove(&id) {
            running.task.abort();
        }
    }

    /// The reader took so many events.
    pub(super) fn credit(&self, id: CallId, events: u32) {
        if let Some(running) = self.shared.running.lock().get(&id) {
            running.room.add_permits(events.min(WINDOW) as usize);
        }
    }

    /// Ends whatever still runs.
    pub(super) async fn end(self) {
        self.tasks.into_inner().shutdown().await;
    }
}

/// The last word about a request. If none was said when it is dropped, its task panicked or was cancelled; whoever
/// still listens is told.
struct Verdict {
    shared: Arc<Shared>,
    id: CallId,
    open: bool,
}

impl Verdict {
    /// Says something. False if there is nobody to say it to.
    fn say(&self, report: &Report) -> bool {
        match self.shared.outbox.send(report) {
            Ok(()) => true,
            Err(SendError::Message(reason)) => {
                let error = ModelError::Internal(format!("an answer has no form on the wire: {reason}"));
                let _ = self.shared.outbox.send(&Report::Failed(self.id, error));
                false
            }
            Err(_) => false,
        }
    }

    /// Says the last word.
    fn close(mut self, report: &Report) {
        self.open = false;
        self.shared.running.lock().remove(&self.id);
        self.say(report);
    }
}

impl Drop for Verdict {
    fn drop(&mut self) {
        // A cancelled request is not in the table any more.
        if self.open && self.shared.running.lock().remove(&self.id).is_some() {
            let error = ModelError::Internal("the request panicked in the engine's process".into());
            self.say(&Report::Failed(self.id, error));
        }
    }
}

async fn work(verdict: Verdict, call: Call, room: Arc<Semaphore>) {
    let model = Arc::clone(&verdict.shared.model);
    let answer = match call {
        Call::Generate(request) => return generate(verdict, &*model, *request, &room).await,
        Call::Embed(request) => model.embed(*request).await.map(Answer::Embeddings),
        Call::Tokenize(text, options) => model.tokenize(&text, options).await.map(Answer::Tokens),
        Call::Detokenize(tokens) => model.detokenize(&tokens).await.map(Answer::Text),
        Call::Render(request) => model.render(*request).await.map(Answer::Text),
        Call::Rerank(request) => model.rerank(*request).await.map(Answer::Ranking),
    };
    let id = verdict.id;
    verdict.close(&answer.map_or_else(|error| Report::Failed(id, error), |answer| Report::Answer(id, answer)));
}

async fn generate(verdict: Verdict, model: &dyn Model, request: GenerateRequest, room: &Semaphore) {
    let id = verdict.id;
    let mut stream = match model.generate(request).await {
        Ok(stream) => stream,
        Err(error) => return verdict.close(&Report::Failed(id, error)),
    };
    if !verdict.say(&Report::Started(id)) {
        return;
    }
    loop {
        // Taken for good: the reader gives new ones. While there are none, the engine's own queue fills, and it pauses
        // the stream.
        let Ok(permit) = room.acquire().await else { return };
        permit.forget();
        match stream.next().await {
            Some(Ok(event @ Event::Finish(_))) => return verdict.close(&Report::Event(id, event)),
            Some(Ok(event)) => {
                if !verdict.say(&Report::Event(id, event)) {
                    return;
                }
            }
            Some(Err(error)) => return verdict.close(&Report::Failed(id, error)),
            None => {
                let error = ModelError::Upstream { message: "the stream ended without a finish".into(), started: true };
                return verdict.close(&Report::Failed(id, error));
            }
        }
    }
}
