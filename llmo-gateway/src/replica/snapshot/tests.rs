//! Rules of the snapshot.

use std::time::Duration;

use llmo_core::model::Load;
use proptest::prelude::*;

use super::*;
use crate::replica::{OutlierOptions, ProbeOutcome};
use crate::test_models::Silent;

fn state(id: &str, models: &[&str], now: Instant) -> ReplicaState {
    let mut state = ReplicaState::new(Arc::new(Replica::new(id, now)));
    for model in models {
        let silent = Silent::new(model);
        let info = silent.info_of();
        state.served.push(Arc::new(Served::new(info, Arc::new(silent), Load::default(), now)));
    }
    state
}

fn up(mut state: ReplicaState, now: Instant) -> ReplicaState {
    state.health.on_probe(&ProbeOutcome::Ready(Vec::new()), false, now);
    state
}

proptest! {
    #[test]
    fn a_route_has_exactly_the_usable_replicas(fates in prop::collection::vec((any::<bool>(), any::<bool>()), 1..12)) {
        let now = Instant::now();
        let states = fates.iter().enumerate().map(|(i, &(is_up, ejected))| {
            let mut state = state(&format!("r{i}"), &["m"], now);
            if is_up {
                state = up(state, now);
            }
            if ejected {
                state.health.outlier.eject(now, &OutlierOptions::default());
            }
            state
        });
        let snapshot = Snapshot::build(states.collect(), now);
        let got: Vec<&str> = snapshot.route("m").expect("known").seats.iter().map(|s| s.replica.id()).collect();
        let want: Vec<String> =
            fates.iter().enumerate().filter(|(_, f)| f.0 && !f.1).map(|(i, _)| format!("r{i}")).collect();
        prop_assert_eq!(got, want);
    }
}

#[test]
fn models_are_merged_over_replicas() {
    let now = Instant::now();
    let snapshot =
        Snapshot::build(vec![up(state("a", &["x", "y"], now), now), up(state("b", &["y", "z"], now), now)], now);
    let names: Vec<&str> = snapshot.models().map(|m| m.id.as_str()).collect();
    assert_eq!(names, ["x", "y", "z"]);
    assert_eq!(snapshot.route("y").expect("known").seats.len(), 2);
    assert!(snapshot.route("q").is_none());
}

#[test]
fn a_model_stays_known_while_all_its_replicas_are_down() {
    let now = Instant::now();
    let snapshot = Snapshot::build(vec![state("a", &["x"], now)], now);
    let route = snapshot.route("x").expect("known");
    assert!(route.seats.is_empty());
    assert_eq!(route.info.id, "x");
}

#[test]
fn the_default_model_is_the_first_that_generates() {
    let now = Instant::now();
    let mut embedder = state("a", &["minilm"], now);
    let mut info = embedder.served[0].info.clone();
    info.capabilities = Capabilities::default();
    info.capabilities.embed = true;
    let client = Arc::clone(&embedder.served[0].client);
    embedder.served = vec![Arc::new(Served::new(info, client, Load::default(), now))];
    let snapshot = Snapshot::build(vec![up(embedder, now), up(state("b", &["chat"], now), now)], now);
    assert_eq!(snapshot.route("").expect("there is one").info.id, "chat");
}

#[test]
fn different_weights_under_one_name_have_a_digest_of_their_own() {
    let of = |digest: &str| {
        let mut info = ModelInfo::new("m", "sim");
        info.digest = Some(digest.to_owned());
        info
    };
    let (a, b) = (of("aa"), of("bb"));
    assert_eq!(agreed(&[&a, &a]).digest.as_deref(), Some("aa"));
    assert_eq!(agreed(&[&b, &a]).digest, agreed(&[&a, &b]).digest);
    assert_eq!(agreed(&[&a, &b]).digest.as_deref(), Some("aa+bb"));
}

#[test]
fn an_ended_ejection_makes_a_replica_usable_again() {
    let now = Instant::now();
    let mut ejected = up(state("a", &["m"], now), now);
    let length = ejected.health.outlier.eject(now, &OutlierOptions::default());
    assert!(Snapshot::build(vec![ejected.clone()], now).route("m").expect("known").seats.is_empty());
    let later = now + length + Duration::from_millis(1);
    let snapshot = Snapshot::build(vec![ejected], later);
    let seat = &snapshot.route("m").expect("known").seats[0];
    assert!(seat.warmth(later) < 1.0, "and starts slowly");
}
