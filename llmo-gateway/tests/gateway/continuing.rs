//! Who goes on with a broken stream, how often that is tried, and what engines die of.

use std::time::{Duration, Instant};

use futures::future::join_all;
use llmo_backends::sim::{Fault, SimOptions};
use llmo_core::model::{EventStream, GenerateRequest, ModelError, Quantisation};
use llmo_core::{EmbedRequest, Model};
use llmo_gateway::replica::{ProbeOutcome, Reported};
use llmo_gateway::router::RouterOptions;

use crate::fleet::{Fleet, words};

fn roomy() -> SimOptions {
    let mut sim = SimOptions::default();
    sim.slots = 64;
    sim.decode_tokens_per_second = 200.0;
    sim
}

fn died(started: bool) -> ModelError {
    ModelError::EngineDied { message: "the engine's process died of SIGABRT".into(), started }
}

fn busy() -> ModelError {
    ModelError::Overloaded { reason: "no slot is free".into(), retry_after: Duration::from_secs(1) }
}

/// Streams of so many words that have all begun on the first replica.
async fn begun_on_the_first(fleet: &Fleet, streams: usize, tokens: u32) -> Vec<EventStream> {
    let others: Vec<_> = fleet.replicas[1..].iter().map(|replica| replica.id().to_owned()).collect();
    others.iter().for_each(|id| assert!(fleet.pool.set_weight(id, 0.0, Instant::now())));
    let model = fleet.model().await;
    let begun = join_all((0..streams).map(|_| model.generate(words(tokens)))).await;
    others.iter().for_each(|id| assert!(fleet.pool.set_weight(id, 1.0, Instant::now())));
    begun.into_iter().map(|stream| stream.expect("an answer")).collect()
}

async fn whole(streams: Vec<EventStream>) {
    let expected = (0..20).map(|i| format!("t{i} ")).collect::<String>();
    for ended in join_all(streams.into_iter().map(EventStream::collect_all)).await {
        assert_eq!(ended.expect("unbroken").0.text, expected);
    }
}

#[tokio::test]
async fn a_replica_that_can_not_go_on_behind_tokens_ends_no_stream() {
    let fleet = Fleet::with(3, roomy(), RouterOptions::default());
    let what = "output_prefix".to_owned();
    fleet.sims[0].faults().always(Fault::error_after(5));
    let streams = begun_on_the_first(&fleet, 4, 20).await;
    fleet.sims[1].faults().always(Fault::Refuse(ModelError::Unsupported { model: "sim".into(), what }));
    whole(streams).await;
    assert_eq!(fleet.pool.events().count("ejected"), 0, "to refuse is no failure");
}

#[tokio::test]
async fn a_stream_goes_on_where_the_same_weights_are_if_it_can() {
    let fleet = Fleet::with(3, roomy(), RouterOptions::default());
    let mut info = fleet.sims[1].info().clone();
    info.quantisation = Quantisation::Named("Q2_K".into());
    let other = ProbeOutcome::Ready(vec![Reported { info, load: fleet.sims[1].load() }]);
    fleet.pool.probed(&fleet.replicas[1], &other, Instant::now());
    fleet.sims[0].faults().always(Fault::error_after(5));
    whole(begun_on_the_first(&fleet, 4, 20).await).await;
    assert_eq!(fleet.replicas[1].totals().0, 0, "its tokens would be others");
    // Better others than none.
    let streams = begun_on_the_first(&fleet, 2, 20).await;
    fleet.pool.set_weight("r2", 0.0, Instant::now());
    whole(streams).await;
    assert_eq!(fleet.replicas[1].totals().0, 2);
}

#[tokio::test]
async fn continuations_do_not_hammer_replicas_that_are_busy() {
    let mut options = RouterOptions::default();
    options.continuation_timeout = Duration::from_secs(3);
    let fleet = Fleet::with(3, roomy(), options);
    fleet.sims[0].faults().always(Fault::error_after(5));
    let streams = begun_on_the_first(&fleet, 30, 20).await;
    fleet.sims[0].faults().always(Fault::Refuse(busy()));
    fleet.sims[1].faults().always(Fault::Refuse(busy()));
    fleet.sims[2].faults().always(Fault::Refuse(busy()));
    let before = fleet.attempts();
    for ended in join_all(streams.into_iter().map(EventStream::collect_all)).await {
        assert!(ended.is_err());
    }
    // One for each, and what the budget of thirty requests has.
    let more = fleet.attempts() - before;
    assert!((30..=30 + 6 + 3).contains(&more), "{more} attempts");
}

#[tokio::test]
async fn a_stream_that_kills_a_second_engine_ends_and_the_third_lives() {
    let fleet = Fleet::with(3, roomy(), RouterOptions::default());
    fleet.sims[0].faults().always(Fault::ErrorAfter(5, died(true)));
    let streams = begun_on_the_first(&fleet, 1, 20).await;
    fleet.sims.iter().for_each(|sim| sim.faults().always(Fault::ErrorAfter(0, died(true))));
    for ended in join_all(streams.into_iter().map(EventStream::collect_all)).await {
        let error = ended.expect_err("it kills");
        assert!(matches!(&error, ModelError::Crashed { .. }), "{error}");
    }
    assert_eq!(fleet.attempts(), 2);
    let refused = fleet.model().await.generate(words(20)).await.map(drop).expect_err("it is known");
    assert!(matches!(refused, ModelError::Crashed { .. }), "{refused}");
    assert_eq!(fleet.attempts(), 2, "no engine sees it again");
}

#[tokio::test]
async fn a_stream_that_gets_further_each_time_does_not_go_around() {
    let fleet = Fleet::with(5, roomy(), RouterOptions::default());
    fleet.sims.iter().for_each(|sim| sim.faults().always(Fault::ErrorAfter(3, died(true))));
    let stream = fleet.model().await.generate(words(20)).await.expect("an answer");
    assert!(matches!(stream.collect_all().await, Err(ModelError::Crashed { .. })));
    assert_eq!(fleet.attempts(), 3);
}

#[tokio::test]
async fn a_request_that_kills_two_engines_before_its_first_token_is_refused_everywhere() {
    let fleet = Fleet::with(4, roomy(), RouterOptions::default());
    fleet.sims.iter().for_each(|sim| sim.faults().always(Fault::Refuse(died(false))));
    let model = fleet.model().await;
    for _ in 0..3 {
        let error = model.generate(words(7)).await.map(drop).expect_err("it kills");
        assert!(matches!(&error, ModelError::Crashed { .. }), "{error}");
        assert_eq!(fleet.attempts(), 2);
    }
    fleet.sims.iter().for_each(|sim| sim.faults().clear());
    let other = GenerateRequest::ask("something else").max_tokens(3);
    model.generate(other).await.expect("an answer").collect_all().await.expect("whole");
}

#[tokio::test]
async fn neighbours_of_a_stream_that_kills_go_on() {
    let fleet = Fleet::with(3, roomy(), RouterOptions::default());
    let streams = begun_on_the_first(&fleet, 16, 20).await;
    fleet.sims[0].faults().down(died(false));
    whole(streams).await;
    let embed = fleet.model().await.embed(EmbedRequest::new(["still there?"])).await;
    assert!(embed.is_ok(), "{embed:?}");
}
