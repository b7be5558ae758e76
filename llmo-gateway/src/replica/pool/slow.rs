//! Leaving out replicas that are much slower to begin than the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Pool;
use crate::replica::slowness::{SlowOptions, Typical, Waits, is_slow};
use crate::replica::{Replica, Route, Served};

/// Of very many replicas so many say what is typical.
const COMPARED: usize = 48;

impl Pool {
    /// Takes in how long the first token of a request with so many tokens of prompt took at a replica. One that is far slower
    /// than the others is ejected, unless fewer than half of those that have the model would be left, or the others have no
    /// room for what runs there: a slow answer is better than none.
    pub fn began(&self, replica: &Arc<Replica>, served: &Served, prompt_tokens: u64, wait: Duration, now: Instant) {
        let options = SlowOptions::default();
        let wait = Waits::unexplained(wait, prompt_tokens);
        served.waits.record(wait, now);
        // Nearly all requests end here: only a slow one can show that its replica is.
        if wait <= options.margin {
            replica.passed_trial();
            return;
        }
        let Some(own) = served.waits.typical(now) else { return };
        let snapshot = self.snapshot();
        let Some(route) = snapshot.route(&served.info.id) else { return };
        let Some(place) = route.seats.place(replica.serial()) else { return };
        let left = route.seats.len() - 1;
        if left * 2 < route.seats.members().len() || !has_room(route, place, replica.in_flight()) {
            // It is needed as it is.
            replica.passed_trial();
            return;
        }
        let state = snapshot.replicas.iter().find(|state| Arc::ptr_eq(&state.replica, replica));
        let before = state.is_some_and(|state| state.health.outlier.has_record(now, &self.outlier));
        let others: Vec<Typical> = others(route, place).filter_map(|(_, other)| other.waits.typical(now)).collect();
        if !is_slow(own, &others, before, &options) {
            if others.iter().any(|other| other.samples >= options.samples) {
                replica.passed_trial();
            }
            return;
        }
        if let Some(length) = self.eject(replica, now) {
            replica.put_on_trial();
            if let Some(state) = state {
                state.served.iter().for_each(|served| served.waits.clear());
            }
            let (wait, seconds) = (own.wait.as_millis(), length.as_secs());
            let reason = format!("slow: first tokens after {wait} ms, far later than elsewhere; out for {seconds} s");
            self.ejected(replica, reason);
        }
    }
}

/// Some of the others, evenly over all of them.
fn others(route: &Route, place: usize) -> impl Iterator<Item = (usize, &Arc<Served>)> {
    let step = route.served.len().div_ceil(COMPARED).max(1);
    route.served.iter().enumerate().step_by(step).filter(move |(index, _)| *index != place)
}

/// Could the others take so many more requests at once? Who doesn't tell its slots may.
fn has_room(route: &Route, place: usize, requests: u32) -> bool {
    let mut room = 0_u32;
    for (index, served) in others(route, place) {
        let slots = served.load().slots;
        let Some(seat) = route.seats.get(index) else { continue };
        room = room.saturating_add(if slots == 0 { requests } else { slots.saturating_sub(seat.replica.occupied()) });
        if room >= requests {
            return true;
        }
    }
    false
}
