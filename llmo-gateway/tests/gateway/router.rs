//! What the router does when replicas refuse, fail, hang and die. Simulated replicas, no sockets.

use std::time::{Duration, Instant};

use crate::fleet::{Fleet, until, words};
use futures::StreamExt;
use llmo_backends::sim::{Fault, SimOptions};
use llmo_core::model::{EmbedRequest, Event, ModelError, Models, TokenizeOptions};
use llmo_gateway::router::RouterOptions;

fn slow_decode() -> SimOptions {
    let mut sim = SimOptions::default();
    sim.decode_tokens_per_second = 50.0;
    sim
}

#[tokio::test]
async fn a_refused_request_is_answered_by_another_replica() {
    let fleet = Fleet::new(2);
    fleet.sims[0].faults().always(Fault::unavailable());
    let model = fleet.model().await;
    for _ in 0..50 {
        let stream = model.generate(words(3)).await.expect("the other one answers");
        assert_eq!(stream.origin.replica.as_deref(), Some("r1"));
        assert_eq!(stream.collect_all().await.expect("whole").0.text, "t0 t1 t2 ");
    }
    assert!(fleet.replicas[0].totals().0 < 10, "it is soon avoided");
}

#[tokio::test]
async fn a_stream_that_breaks_before_its_first_token_is_repeated_elsewhere() {
    let fleet = Fleet::new(2);
    fleet.sims[0].faults().always(Fault::EndAfter(0));
    let model = fleet.model().await;
    for _ in 0..20 {
        let (answer, _) = model.generate(words(3)).await.expect("the other works").collect_all().await.expect("whole");
        assert_eq!(answer.text, "t0 t1 t2 ");
    }
    fleet.sims[1].faults().always(Fault::error_after(0));
    let error = model.generate(words(3)).await.expect_err("both break");
    assert!(matches!(error, ModelError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_stream_that_breaks_later_goes_on_elsewhere_behind_its_last_token() {
    let fleet = Fleet::new(2);
    for sim in &fleet.sims {
        sim.faults().next(1, Fault::EndAfter(2));
    }
    let stream = fleet.model().await.generate(words(5)).await.expect("it begins");
    let (answer, finish) = stream.collect_all().await.expect("it goes on");
    assert_eq!(answer.text, "t0 t1 t2 t3 t4 ");
    assert_eq!(answer.tokens.len(), 5);
    assert_eq!(finish.usage.completion_tokens, 5, "usage counts the whole answer");
}

#[tokio::test]
async fn a_stream_that_breaks_everywhere_ends_with_an_error() {
    let fleet = Fleet::new(2);
    for sim in &fleet.sims {
        sim.faults().always(Fault::EndAfter(1));
    }
    let stream = fleet.model().await.generate(words(60)).await.expect("it begins");
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.collect_all()).await.expect("soon");
    assert!(matches!(ended, Err(ModelError::Upstream { started: true, .. })), "{ended:?}");
}

#[tokio::test]
async fn a_stream_that_is_not_to_be_continued_ends_with_a_typed_error() {
    let fleet = Fleet::with(2, SimOptions::default(), not_continued());
    for sim in &fleet.sims {
        sim.faults().next(1, Fault::EndAfter(2));
    }
    let stream = fleet.model().await.generate(words(5)).await.expect("it begins");
    let events: Vec<_> = stream.collect().await;
    assert!(matches!(events.last(), Some(Err(ModelError::Upstream { started: true, .. }))), "{events:?}");
    assert!(!events.iter().any(|event| matches!(event, Ok(Event::Finish(_)))));
    assert_eq!((fleet.attempts(), fleet.in_flight()), (1, 0));
}

#[tokio::test]
async fn attempts_stay_within_the_budget_when_everything_fails() {
    let fleet = Fleet::new(3);
    fleet.sims.iter().for_each(|sim| sim.faults().always(Fault::unavailable()));
    let model = fleet.model().await;
    for _ in 0..200 {
        assert!(model.generate(words(1)).await.is_err());
    }
    assert!(fleet.attempts() <= 200 + 40 + 3, "{} attempts", fleet.attempts());
}

#[tokio::test]
async fn a_wrong_request_is_neither_repeated_nor_held_against_the_replica() {
    let fleet = Fleet::new(2);
    let mut long = words(1);
    long.prompt = llmo_core::model::Prompt::Text("x".repeat(100_000));
    let model = fleet.model().await;
    for _ in 0..20 {
        let error = model.generate(long.clone()).await.expect_err("too long");
        assert!(matches!(error, ModelError::ContextOverflow { .. }), "{error}");
    }
    assert_eq!(fleet.attempts(), 20);
    assert!(fleet.replicas.iter().all(|replica| replica.totals().1 == 0));
}

#[tokio::test]
async fn the_deadline_holds_while_a_replica_hangs() {
    let fleet = Fleet::new(1);
    fleet.sims[0].faults().always(Fault::HangAfter(0));
    let begun = Instant::now();
    let request = words(1).deadline_after(begun, Duration::from_millis(200));
    let error = fleet.model().await.generate(request).await.expect_err("nothing comes");
    assert!(matches!(error, ModelError::DeadlineExceeded { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(fleet.in_flight(), 0);
}

#[tokio::test]
async fn the_deadline_holds_in_the_middle_of_a_stream() {
    let fleet = Fleet::new(1);
    fleet.sims[0].faults().always(Fault::HangAfter(2));
    let request = words(5).deadline_after(Instant::now(), Duration::from_millis(200));
    let stream = fleet.model().await.generate(request).await.expect("it begins");
    let error = stream.collect_all().await.expect_err("it hangs");
    assert!(matches!(error, ModelError::DeadlineExceeded { .. }), "{error}");
}

#[tokio::test]
async fn a_waiting_request_moves_when_its_replica_is_found_dead() {
    let fleet = Fleet::new(2);
    fleet.sims.iter().for_each(|sim| sim.faults().next(1, Fault::HangAfter(0)));
    let model = fleet.model().await;
    let waiting = tokio::spawn(async move { model.generate(words(2)).await });
    until("it is sent", || fleet.attempts() == 1).await;
    let (hung, other) = if fleet.replicas[0].in_flight() == 1 { (0, 1) } else { (1, 0) };
    fleet.sims[other].faults().clear();
    fleet.report_gone(hung);
    let stream = waiting.await.expect("no panic").expect("the other one answers");
    assert_eq!(stream.origin.replica.as_deref(), Some(fleet.replicas[other].id()));
}

#[tokio::test]
async fn a_silent_stream_of_a_dead_replica_ends_soon() {
    let fleet = Fleet::with(1, SimOptions::default(), not_continued());
    fleet.sims[0].faults().next(1, Fault::HangAfter(2));
    let stream = fleet.model().await.generate(words(5)).await.expect("it begins");
    fleet.report_gone(0);
    let ended = tokio::time::timeout(Duration::from_secs(8), stream.collect_all()).await.expect("soon");
    assert!(matches!(ended, Err(ModelError::Upstream { started: true, .. })), "{ended:?}");
}

#[tokio::test]
async fn a_flowing_stream_outlives_a_health_check_that_thinks_its_replica_dead() {
    let fleet = Fleet::with(1, slow_decode(), RouterOptions::default());
    let stream = fleet.model().await.generate(words(10)).await.expect("it begins");
    fleet.report_gone(0);
    assert!(stream.collect_all().await.is_ok());
}

#[tokio::test]
async fn a_stream_that_falls_silent_ends_after_the_idle_timeout() {
    let mut options = not_continued();
    options.idle_timeout = Duration::from_millis(300);
    let fleet = Fleet::with(1, SimOptions::default(), options);
    fleet.sims[0].faults().next(1, Fault::HangAfter(2));
    let stream = fleet.model().await.generate(words(5)).await.expect("it begins");
    let error = stream.collect_all().await.expect_err("it hangs");
    assert!(matches!(error, ModelError::Upstream { started: true, .. }), "{error}");
}

#[tokio::test]
async fn a_slow_reader_is_not_taken_for_a_silent_replica() {
    let mut options = RouterOptions::default();
    options.idle_timeout = Duration::from_millis(100);
    let fleet = Fleet::with(1, slow_decode(), options);
    let mut stream = fleet.model().await.generate(words(4)).await.expect("it begins");
    stream.next().await.expect("first").expect("good");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(stream.collect_all().await.is_ok());
}

#[tokio::test]
async fn a_replica_without_a_first_token_is_left_for_another() {
    let mut options = RouterOptions::default();
    options.first_token_timeout = Duration::from_millis(150);
    let fleet = Fleet::with(2, SimOptions::default(), options);
    fleet.sims.iter().for_each(|sim| sim.faults().next(1, Fault::HangAfter(0)));
    let model = fleet.model().await;
    let waiting = tokio::spawn(async move { model.generate(words(2)).await });
    until("it is sent", || fleet.attempts() == 1).await;
    let other = usize::from(fleet.replicas[0].in_flight() == 1);
    fleet.sims[other].faults().clear();
    let stream = waiting.await.expect("no panic").expect("the other one answers");
    assert_eq!(stream.origin.replica.as_deref(), Some(fleet.replicas[other].id()));
}

#[tokio::test]
async fn dropping_a_stream_frees_its_place() {
    let fleet = Fleet::with(1, slow_decode(), RouterOptions::default());
    let mut stream = fleet.model().await.generate(words(50)).await.expect("it begins");
    stream.next().await.expect("first").expect("good");
    assert_eq!(fleet.in_flight(), 1);
    drop(stream);
    assert_eq!(fleet.in_flight(), 0);
    use llmo_core::Model;
    until("the slot is free", || fleet.sims[0].load().in_flight() == 0).await;
}

#[tokio::test]
async fn dropping_a_waiting_request_frees_its_place() {
    let fleet = Fleet::new(1);
    fleet.sims[0].faults().always(Fault::HangAfter(0));
    let model = fleet.model().await;
    let waiting = tokio::spawn(async move { model.generate(words(1)).await });
    until("it is sent", || fleet.in_flight() == 1).await;
    waiting.abort();
    until("its place is free", || fleet.in_flight() == 0).await;
}

#[tokio::test]
async fn a_slow_replica_is_avoided() {
    let fleet = Fleet::new(3);
    fleet.sims[0].faults().always(Fault::Delay(Duration::from_millis(300)));
    let model = fleet.model().await;
    for _ in 0..60 {
        model.generate(words(1)).await.expect("it works").collect_all().await.expect("whole");
    }
    assert!(fleet.replicas[0].totals().0 <= 3, "{} of 60 went to the slow one", fleet.replicas[0].totals().0);
}

#[tokio::test]
async fn unknown_models_get_a_suggestion() {
    let error = Fleet::new(1).models.resolve("simm").await.err();
    let Some(ModelError::NotFound { suggestion, .. }) = error else { panic!("{error:?}") };
    assert_eq!(suggestion.as_deref(), Some("sim"));
}

#[tokio::test]
async fn a_known_model_without_replicas_is_unavailable_not_unknown() {
    let fleet = Fleet::new(2);
    let model = fleet.model().await;
    fleet.report_gone(0);
    fleet.report_gone(1);
    for error in [fleet.models.resolve("sim").await.err(), model.generate(words(1)).await.err()] {
        let Some(ModelError::Unavailable { retry_after, .. }) = error else { panic!("{error:?}") };
        assert!(retry_after >= Duration::from_secs(1));
    }
    assert_eq!(fleet.models.list().await.len(), 1);
    assert_eq!(fleet.models.ready().expect_err("nobody is up").len(), 2);
    fleet.report_up(1);
    assert!(fleet.models.resolve("").await.is_ok(), "and back at once");
}

#[tokio::test]
async fn embeddings_and_tokens_are_routed_and_repeated_too() {
    let fleet = Fleet::new(2);
    let model = fleet.model().await;
    fleet.sims[0].faults().always(Fault::unavailable());
    for _ in 0..10 {
        let embeddings = model.embed(EmbedRequest::new(["a", "b"])).await.expect("the other one answers");
        assert_eq!((embeddings.vectors.len(), embeddings.origin.replica.as_deref()), (2, Some("r1")));
    }
    let tokens = model.tokenize("abc", TokenizeOptions::default()).await.expect("it works");
    assert_eq!(model.detokenize(&tokens).await.expect("it works"), "abc");
    assert_eq!(fleet.in_flight(), 0);
}

#[tokio::test]
async fn the_load_of_all_replicas_is_summed() {
    let fleet = Fleet::new(3);
    assert_eq!(fleet.model().await.load().slots, 12);
}

fn not_continued() -> RouterOptions {
    let mut options = RouterOptions::default();
    options.continuation_timeout = Duration::ZERO;
    options
}
