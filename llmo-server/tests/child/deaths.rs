//! What a death costs.

use std::time::Duration;

use llmo_core::{Model, ModelError};
use rustix::process::Signal;

use crate::subject::{SHORT, answered, ask, end, exists, kill, pid, reborn, restarts, running, send, sim};
use crate::support::{eventually, within};

#[tokio::test]
async fn streams_of_a_killed_process_end_with_typed_errors_and_the_next_request_is_answered() {
    let model = sim(|sim, _| sim.slots = 4).await;
    let mut streams = Vec::new();
    for n in 0..4 {
        streams.push(running(&*model, ask(n)).await);
    }
    // All slots are taken: this one has not begun.
    let waiting = tokio::spawn({
        let model = model.clone();
        async move { model.generate(ask("the queue")).await.map(drop) }
    });
    eventually("the queue", || model.load().queued_requests == 1).await;
    kill(&model, Signal::KILL).await;
    for stream in streams {
        let error = end(stream).await.unwrap_err();
        assert!(matches!(&error, ModelError::EngineDied { started: true, .. }), "{error}");
        assert!(error.to_string().contains("SIGKILL"), "{error}");
    }
    let error = within(waiting).await.unwrap().unwrap_err();
    assert!(matches!(&error, ModelError::EngineDied { .. }) && error.is_retryable(), "{error}");
    assert_eq!(answered(&*model, ask("something else").max_tokens(3)).await.unwrap(), 3);
    assert_eq!(restarts(&model, "killed"), 1);
}

#[tokio::test]
async fn without_a_process_requests_are_refused_at_once_and_the_reason_is_told() {
    let model = sim(|_, options| {
        options.deaths = 1;
        options.quarantine = Duration::from_secs(600);
    })
    .await;
    send(pid(&*model).unwrap(), Signal::ABORT);
    eventually("the death", || model.process().unwrap().down.is_some()).await;
    let error = within(model.generate(ask("x"))).await.map(drop).unwrap_err();
    let ModelError::Unavailable { reason, retry_after } = &error else { panic!("{error}") };
    assert!(reason.contains("quarantine") && reason.contains("SIGABRT"), "{reason}");
    assert!(*retry_after > Duration::from_secs(500), "{retry_after:?}");
    assert_eq!(model.load().in_flight(), 0);
    assert_eq!(restarts(&model, "abort"), 1);
}

#[tokio::test]
async fn a_stopped_process_is_noticed_and_replaced() {
    let model = sim(|_, options| options.silence = SHORT).await;
    let old = pid(&*model).unwrap();
    let stream = running(&*model, ask("x")).await;
    send(old, Signal::STOP);
    let error = end(stream).await.unwrap_err();
    assert!(error.to_string().contains("sign of life"), "{error}");
    reborn(&model, old).await;
    assert_eq!(answered(&*model, ask("y").max_tokens(2)).await.unwrap(), 2);
    assert_eq!(restarts(&model, "silent"), 1);
    eventually("the stopped process is gone", || !exists(old)).await;
}

#[tokio::test]
async fn an_engine_that_gets_nothing_done_is_replaced_and_an_idle_one_is_not() {
    let model = sim(|sim, options| {
        sim.prefill_tokens_per_second = 0.0;
        options.stall = SHORT;
    })
    .await;
    let old = pid(&*model).unwrap();
    tokio::time::sleep(SHORT * 4).await;
    assert_eq!(pid(&*model), Some(old), "an idle engine is not stuck");
    let stream = within(model.generate(ask("x"))).await.unwrap();
    let error = end(stream).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("nothing done"), "{error}");
    reborn(&model, old).await;
    assert_eq!(restarts(&model, "stalled"), 1);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_does_not_look_like_a_stuck_engine() {
    let model = sim(|sim, options| {
        sim.decode_tokens_per_second = 10_000.0;
        options.stall = SHORT;
    })
    .await;
    let old = pid(&*model);
    let stream = running(&*model, ask("x")).await;
    tokio::time::sleep(SHORT * 4).await;
    assert_eq!(pid(&*model), old);
    end(stream).await.unwrap();
}

#[tokio::test]
async fn five_deaths_are_quarantine_and_then_there_is_another_chance() {
    let model = sim(|_, options| {
        options.quarantine = Duration::from_secs(2);
    })
    .await;
    for _ in 0..4 {
        kill(&model, Signal::ABORT).await;
    }
    let last = pid(&*model).unwrap();
    send(last, Signal::ABORT);
    eventually("quarantine", || model.process().unwrap().down.is_some_and(|why| why.contains("quarantine"))).await;
    assert!(answered(&*model, ask("x")).await.unwrap_err().is_retryable());
    reborn(&model, last).await;
    assert_eq!(answered(&*model, ask("x").max_tokens(2)).await.unwrap(), 2);
    // Half open: one more is enough.
    send(pid(&*model).unwrap(), Signal::ABORT);
    eventually("quarantine", || model.process().unwrap().down.is_some_and(|why| why.contains("for 4 s"))).await;
}
