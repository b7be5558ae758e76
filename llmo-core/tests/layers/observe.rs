//! An observer hears of every generation, and of its end exactly once.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures::future::join_all;
use llmo_core::conformance::model::{ModelSuite, check};
use llmo_core::layers::{Observation, Observe, Observer};
use llmo_core::model::{Finish, GenerateRequest, Model, ModelError, ModelInfo, Origin};

use crate::toy_model::ToyModel;
use crate::{TOKEN, request, text_of};

#[derive(Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Entry(Arc<Mutex<Vec<String>>>);

impl Entry {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().expect("not poisoned").push(what.into());
    }
}

impl Observer for Log {
    fn started(&self, model: &ModelInfo, _: &GenerateRequest, _: Instant) -> Box<dyn Observation> {
        let entry = Entry(Arc::clone(&self.0));
        entry.note(format!("started {}", model.id));
        Box::new(entry)
    }
}

impl Observation for Entry {
    fn accepted(&mut self, _: &Origin, _: Instant) {
        self.note("accepted");
    }

    fn first_text(&mut self, _: Instant) {
        self.note("first text");
    }

    fn finished(self: Box<Self>, finish: &Finish, _: Instant) {
        self.note(format!("finished {}", finish.usage.completion_tokens));
    }

    fn failed(self: Box<Self>, error: &ModelError, _: Instant) {
        self.note(format!("failed {}", error.code()));
    }

    fn cancelled(self: Box<Self>, _: Instant) {
        self.note("cancelled");
    }
}

fn observed() -> (Arc<ToyModel>, Observe, Arc<Mutex<Vec<String>>>) {
    let toy = Arc::new(ToyModel::new(4, TOKEN));
    let log = Log::default();
    let lines = Arc::clone(&log.0);
    (Arc::clone(&toy), Observe::new(toy as Arc<dyn Model>, Arc::new(log)), lines)
}

fn lines(log: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut *log.lock().expect("not poisoned"))
}

#[tokio::test]
async fn the_contract_is_kept() {
    check(Arc::new(observed().1), ModelSuite::default()).await;
}

#[tokio::test]
async fn every_generation_ends_exactly_once() {
    let (toy, model, log) = observed();
    text_of(model.generate(request()).await.expect("accepted")).await;
    assert_eq!(lines(&log), ["started toy", "accepted", "first text", "finished 20"]);

    model.generate(request().max_tokens(0)).await.expect_err("refused");
    assert_eq!(lines(&log), ["started toy", "failed invalid_request"]);

    drop(model.generate(request()).await.expect("accepted"));
    assert_eq!(lines(&log), ["started toy", "accepted", "cancelled"]);

    let slots = join_all((0..4).map(|_| toy.generate(request()))).await;
    let mut waiting = Box::pin(model.generate(request()));
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(waiting);
    assert_eq!(lines(&log), ["started toy", "cancelled"]);
    drop(slots);

    toy.fail_after.store(2, Ordering::SeqCst);
    model.generate(request()).await.expect("accepted").collect_all().await.expect_err("fails");
    assert_eq!(lines(&log), ["started toy", "accepted", "first text", "failed upstream_failed"]);
}
