//! A model in a process of its own, and what is known of that process.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use llmo_backends::sim::SimOptions;
use llmo_core::model::{EventStream, Prompt};
use llmo_core::{Event, GenerateRequest, Model, ModelError};
use llmo_server::services::model::child::{ChildModel, ChildOptions, Spec};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{eventually, within};

/// The program that knows how to be an engine.
pub(crate) fn options() -> ChildOptions {
    let mut options = ChildOptions::default();
    options.program = env!("CARGO_BIN_EXE_llmo-server").into();
    options
}

/// A simulator of 50 tokens a second in a process of its own.
pub(crate) async fn sim(set: impl FnOnce(&mut SimOptions, &mut ChildOptions)) -> Arc<ChildModel> {
    let mut sim = SimOptions::named("sim");
    sim.decode_tokens_per_second = 50.0;
    sim.answer_tokens = 1000;
    let mut options = options();
    set(&mut sim, &mut options);
    Arc::new(within(ChildModel::load(Spec::Sim(sim), options)).await.unwrap())
}

pub(crate) fn pid(model: &dyn Model) -> Option<u32> {
    model.process().unwrap().id
}

pub(crate) fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Sends a signal to the process, and waits until another one answers.
pub(crate) async fn kill(model: &ChildModel, signal: Signal) {
    let old = pid(model).unwrap();
    send(old, signal);
    reborn(model, old).await;
}

pub(crate) async fn reborn(model: &ChildModel, old: u32) {
    eventually("the restart", || pid(model).is_some_and(|new| new != old)).await;
}

pub(crate) fn restarts(model: &ChildModel, reason: &str) -> u64 {
    model.process().unwrap().restarts.get(reason).copied().unwrap_or_default()
}

/// Is there a process of this id, be it a zombie?
pub(crate) fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// A request that no other is like.
pub(crate) fn ask(what: impl std::fmt::Display) -> GenerateRequest {
    let mut request = GenerateRequest::complete(format!("tell me about {what}"));
    request.request_id = Some(format!("request-{what}"));
    request.token_ids = true;
    request
}

/// Starts a request and reads its first token.
pub(crate) async fn running(model: &dyn Model, request: GenerateRequest) -> EventStream {
    let mut stream = within(model.generate(request)).await.unwrap();
    assert!(matches!(within(stream.next()).await, Some(Ok(Event::Delta(_)))));
    stream
}

/// How a stream ends.
pub(crate) async fn end(mut stream: EventStream) -> Result<(), ModelError> {
    within(async {
        loop {
            match stream.next().await {
                Some(Ok(Event::Finish(_))) => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    assert!(stream.next().await.is_none(), "nothing follows an error");
                    return Err(error);
                }
                None => panic!("the stream ended without a finish"),
            }
        }
    })
    .await
}

/// Asks, and waits for the whole answer.
pub(crate) async fn answered(model: &dyn Model, request: GenerateRequest) -> Result<usize, ModelError> {
    let stream = within(model.generate(request)).await?;
    within(stream.collect_all()).await.map(|(delta, _)| delta.tokens.len())
}

pub(crate) fn by_tokens(tokens: &[u32]) -> GenerateRequest {
    GenerateRequest::new(Prompt::Tokens(tokens.to_vec()))
}

pub(crate) const SHORT: Duration = Duration::from_millis(400);
