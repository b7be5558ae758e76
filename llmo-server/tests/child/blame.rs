//! Which request is refused after deaths, and which is not.

use llmo_core::model::TokenizeOptions;
use llmo_core::{GenerateRequest, Model, ModelError};
use rustix::process::Signal;

use crate::subject::{answered, ask, end, kill, pid, reborn, restarts, running, sim};
use crate::support::within;

fn poison() -> GenerateRequest {
    ask("poison")
}

#[tokio::test]
async fn a_request_that_kills_twice_is_refused_and_its_neighbours_are_served() {
    let model = sim(|sim, _| {
        sim.slots = 8;
        sim.abort_on = Some("poison".into());
    })
    .await;
    let first = pid(&*model).unwrap();
    let mut neighbours = Vec::new();
    for n in 0..4 {
        neighbours.push(running(&*model, ask(n)).await);
    }
    let error = answered(&*model, poison()).await.unwrap_err();
    assert!(error.is_retryable(), "nobody knows yet: {error}");
    for neighbour in neighbours {
        end(neighbour).await.unwrap_err();
    }
    reborn(&model, first).await;
    // All come back at once, as a gateway would have it: at the second death the poison is the only suspect.
    let again = (0..4).map(|n| answered(&*model, ask(n).max_tokens(60)));
    let second = pid(&*model).unwrap();
    let (neighbours, error) = within(futures::future::join(futures::future::join_all(again), async {
        let error = answered(&*model, poison()).await.unwrap_err();
        reborn(&model, second).await;
        error
    }))
    .await;
    assert!(matches!(&error, ModelError::Crashed { .. }) && !error.is_retryable(), "{error}");
    assert_eq!(error.code(), "upstream_crashed");
    for neighbour in neighbours {
        // Whoever was in the engine may have been hit a second time, but is not blamed.
        assert!(!matches!(neighbour, Err(ModelError::Crashed { .. })), "{neighbour:?}");
    }
    for n in 0..4 {
        assert_eq!(answered(&*model, ask(n).max_tokens(3)).await.unwrap(), 3);
    }
    let third = pid(&*model);
    let error = answered(&*model, poison()).await.unwrap_err();
    assert!(matches!(&error, ModelError::Crashed { .. }), "{error}");
    assert_eq!((pid(&*model), restarts(&model, "abort")), (third, 2), "the third time it does not get to the engine");
}

#[tokio::test]
async fn suspects_are_served_in_turn_and_the_others_beside_them() {
    let model = sim(|sim, _| sim.slots = 8).await;
    let mut streams = Vec::new();
    for n in 0..3 {
        streams.push(running(&*model, ask(n)).await);
    }
    kill(&model, Signal::KILL).await;
    for stream in streams {
        end(stream).await.unwrap_err();
    }
    let suspects = futures::future::join_all((0..3).map(|n| answered(&*model, ask(n).max_tokens(10))));
    let others = futures::future::join_all((10..13).map(|n| answered(&*model, ask(n).max_tokens(10))));
    let (suspects, others) = within(futures::future::join(suspects, others)).await;
    assert!(suspects.iter().chain(&others).all(|tokens| *tokens.as_ref().unwrap() == 10));
    assert_eq!(model.load().queued_requests, 0);
}

#[tokio::test]
async fn other_operations_are_blamed_as_generations_are() {
    let model = sim(|_, _| {}).await;
    kill(&model, Signal::KILL).await;
    let tokens = within(model.tokenize("text", TokenizeOptions::default())).await.unwrap();
    assert_eq!(within(model.detokenize(&tokens)).await.unwrap(), "text");
}
