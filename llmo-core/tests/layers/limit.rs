//! So many at once, so many waiting, the others refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use llmo_core::conformance::model::{ModelSuite, check};
use llmo_core::layers::{Limit, LimitOptions};
use llmo_core::model::{Event, Model, ModelError};

use crate::toy_model::ToyModel;
use crate::{TOKEN, request, text_of, until};

fn limited(running: usize, queued: usize) -> (Arc<ToyModel>, Arc<Limit>) {
    let toy = Arc::new(ToyModel::new(64, TOKEN));
    let inner: Arc<dyn Model> = Arc::clone(&toy) as _;
    (toy, Arc::new(Limit::new(inner, LimitOptions::new(running, queued))))
}

#[tokio::test]
async fn the_contract_is_kept() {
    check(limited(2, 8).1, ModelSuite::default()).await;
}

#[tokio::test]
async fn no_more_than_the_limit_run_and_all_that_may_wait_are_served() {
    let (toy, limit) = limited(3, 100);
    let most = AtomicUsize::new(0);
    join_all((0..20).map(|_| async {
        let mut stream = limit.generate(request()).await.expect("accepted");
        while let Some(event) = stream.next().await {
            event.expect("an event");
            most.fetch_max(toy.running() as usize, Ordering::SeqCst);
        }
    }))
    .await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!(limit.load().in_flight(), 0);
}

#[tokio::test]
async fn when_the_queue_is_full_requests_are_refused_at_once() {
    let (_, limit) = limited(1, 1);
    let running = limit.generate(request()).await.expect("runs");
    let mut waiting = Box::pin(limit.generate(request()));
    assert!(futures::poll!(&mut waiting).is_pending());
    assert_eq!((limit.load().slots_free, limit.load().queued_requests), (0, 1));
    let refusal = limit.generate(request()).now_or_never().expect("at once").expect_err("refused");
    assert!(matches!(refusal, ModelError::Overloaded { .. }), "{refusal:?}");
    let invalid = limit.generate(request().max_tokens(0)).now_or_never().expect("at once").expect_err("invalid");
    assert!(matches!(invalid, ModelError::InvalidRequest { .. }), "{invalid:?}");
    drop(running);
    assert!(!text_of(waiting.await.expect("its turn")).await.is_empty());
}

#[tokio::test]
async fn a_place_is_free_again_before_the_end_is_seen() {
    let (toy, limit) = limited(1, 0);
    for fails in [0, 3] {
        toy.fail_after.store(fails, Ordering::SeqCst);
        let mut stream = limit.generate(request()).await.expect("accepted");
        while let Some(Ok(Event::Delta(_))) = stream.next().await {}
        assert!(limit.generate(request()).await.is_ok(), "the stream is still held, its place is not");
    }
}

#[tokio::test]
async fn who_leaves_the_queue_leaves_room_in_it() {
    let (_, limit) = limited(1, 1);
    let running = limit.generate(request()).await.expect("runs");
    for _ in 0..3 {
        let mut waiting = Box::pin(limit.generate(request()));
        assert!(futures::poll!(&mut waiting).is_pending());
    }
    drop(running);
    assert!(limit.generate(request()).await.is_ok());
}

#[tokio::test]
async fn a_request_whose_deadline_passed_in_the_queue_is_not_started() {
    let (toy, limit) = limited(1, 1);
    let running = limit.generate(request()).await.expect("runs");
    let late = request().deadline_after(Instant::now(), Duration::from_millis(1));
    let mut waiting = Box::pin(limit.generate(late.clone()));
    assert!(futures::poll!(&mut waiting).is_pending());
    until("the deadline passes", || late.deadline.is_some_and(|deadline| deadline <= Instant::now())).await;
    drop(running);
    assert!(matches!(waiting.await, Err(ModelError::DeadlineExceeded { .. })));
    assert_eq!(toy.started.load(Ordering::SeqCst), 1);
}
