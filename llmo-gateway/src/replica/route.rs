//! The way to a model: the replicas that can serve it now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use llmo_core::model::{Load, Model, ModelInfo, Residence, ResidenceState};
use parking_lot::Mutex;

use super::{Latency, Replica, Roster, Tally, Waits};

/// A replica that came back reaches its full share of requests in this time.
pub const WARM_UP: Duration = Duration::from_secs(5);
/// The share it starts with.
const COLD_SHARE: f64 = 0.1;
/// Latencies are compared on top of this, so that a millisecond more or less does not decide.
const LATENCY_FLOOR: Duration = Duration::from_millis(50);
/// Two replicas are about as quick while the slower one's latency is at most this many times the other's.
const ABOUT_AS_QUICK: f64 = 1.5;

/// A model as one replica serves it.
pub struct Served {
    /// What the replica says of it.
    pub info: ModelInfo,
    /// How to talk to it.
    pub client: Arc<dyn Model>,
    /// Time to the first token there.
    pub latency: Arc<Latency>,
    /// The same one by one, as far as prompts don't explain them: to compare it with others.
    pub waits: Waits,
    /// Requests of this gateway that it has running there.
    pub running: Tally,
    load: Mutex<Load>,
}

impl Served {
    /// A model at a replica, with the load it reported first.
    #[must_use]
    pub fn new(info: ModelInfo, client: Arc<dyn Model>, load: Load, now: Instant) -> Self {
        let (latency, waits) = (Arc::new(Latency::new(now)), Waits::new(now));
        Self { info, client, latency, waits, running: Tally::default(), load: Mutex::new(load) }
    }

    /// The load it reported last.
    #[must_use]
    pub fn load(&self) -> Load {
        *self.load.lock()
    }

    /// Takes in a report.
    pub fn report(&self, load: Load) {
        *self.load.lock() = load;
    }
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").field("info", &self.info.id).field("load", &self.load()).finish_non_exhaustive()
    }
}

/// A replica as a policy sees it: just what a choice needs, next to each other in memory.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Who.
    pub replica: Arc<Replica>,
    /// Time to the first token of this model there.
    pub latency: Arc<Latency>,
    /// Sequences it decodes at once; at least 1.
    pub slots: u32,
    /// It came back then, and gets its share slowly.
    pub warm_from: Option<Instant>,
    /// Its share of requests relative to others; above 0.
    pub weight: f32,
    /// It has the model in memory, or nobody knows that it has not.
    pub resident: bool,
    /// Requests of this model that this gateway has running there.
    pub running: Tally,
}

impl Seat {
    /// A warm replica of one slot.
    #[must_use]
    pub fn new(replica: Arc<Replica>, now: Instant) -> Self {
        Self {
            replica,
            latency: Arc::new(Latency::new(now)),
            slots: 1,
            warm_from: None,
            weight: 1.0,
            resident: true,
            running: Tally::default(),
        }
    }

    /// How full it would be with one more request, in requests a slot. A cold replica, and one of little weight, seems
    /// fuller than it is.
    #[must_use]
    pub fn occupancy(&self, now: Instant) -> f64 {
        let requests = f64::from(self.replica.occupied()) + 1.0;
        requests / f64::from(self.slots.max(1)) / self.share(now)
    }

    /// How much it would have to do with so many tokens more, in tokens a slot. The fuller its KV cache, the more each of
    /// them counts: at the end requests wait for room, not for a slot.
    #[must_use]
    pub fn token_pressure(&self, more: u64, now: Instant) -> f64 {
        let tokens = self.replica.tokens();
        let room = 1.0 - 0.9 * f64::from(tokens.kv_used());
        (tokens.outstanding().saturating_add(more)) as f64 / f64::from(self.slots.max(1)) / room / self.share(now)
    }

    /// Slots times weight: what it can take, relative to others.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        f64::from(self.slots.max(1)) * f64::from(self.weight)
    }

    /// Its share of requests as of now: weight times warmth. Never 0.
    #[must_use]
    pub fn share(&self, now: Instant) -> f64 {
        (f64::from(self.weight) * self.warmth(now)).max(1e-9)
    }

    /// What one more request would cost there: occupancy times latency. The unit means nothing; lower is better.
    #[must_use]
    pub fn cost(&self, now: Instant) -> f64 {
        self.occupancy(now) * self.felt_latency(now)
    }

    /// Would one more request be better off here than there? If both are about as quick, the emptier one is better, so
    /// that the noise of latencies does not send everything to one of them; otherwise the one of lower cost.
    #[must_use]
    pub fn is_better_than(&self, other: &Self, now: Instant) -> bool {
        let (ours, theirs) = (self.felt_latency(now), other.felt_latency(now));
        if ours.max(theirs) <= ours.min(theirs) * ABOUT_AS_QUICK {
            return self.occupancy(now) < other.occupancy(now);
        }
        self.cost(now) < other.cost(now)
    }

    fn felt_latency(&self, now: Instant) -> f64 {
        (self.latency.estimate(now) + LATENCY_FLOOR).as_secs_f64()
    }

    /// Its share of requests, from a tenth, when it has just come back, to 1.
    #[must_use]
    pub fn warmth(&self, now: Instant) -> f64 {
        self.warm_from.map_or(1.0, |from| {
            let age = now.saturating_duration_since(from).as_secs_f64() / WARM_UP.as_secs_f64();
            age.clamp(COLD_SHARE, 1.0)
        })
    }
}

/// The replicas that can serve one model now, and the model as they agree on it.
#[derive(Debug)]
pub struct Route {
    /// The model.
    pub info: Arc<ModelInfo>,
    /// Those that can be used, for policies. May be empty: the model is known, and nobody serves it now.
    pub seats: Roster,
    /// The same replicas in the same order: the model there.
    pub served: Vec<Arc<Served>>,
}

impl Route {
    /// The load of all replicas together. If one of them doesn't tell its slots, nobody knows how many there are together
    /// (0): everything that is there then counts as waiting.
    #[must_use]
    pub fn load(&self) -> Load {
        let mut sum = Load::default();
        let mut all_told = true;
        for load in self.served.iter().map(|served| served.load()) {
            all_told &= load.slots > 0;
            sum.slots = sum.slots.saturating_add(load.slots);
            sum.slots_free = sum.slots_free.saturating_add(load.slots_free);
            sum.queued_requests = sum.queued_requests.saturating_add(load.queued_requests);
            sum.queued_tokens = sum.queued_tokens.saturating_add(load.queued_tokens);
            sum.kv_used += load.kv_used;
            sum.residence = together(sum.residence, load.residence);
        }
        sum.kv_used /= self.served.len().max(1) as f32;
        if !all_told {
            sum.queued_requests = sum.in_flight();
            (sum.slots, sum.slots_free) = (0, 0);
        }
        sum
    }
}

/// A model is where the best of its replicas has it, takes what all of them take, and goes with the last of them.
fn together(sum: Option<Residence>, one: Option<Residence>) -> Option<Residence> {
    let (Some(sum), Some(one)) = (sum, one) else { return sum.or(one) };
    let mut both = if one.state > sum.state { one } else { sum };
    let taken = |residence: Residence| match residence.state {
        ResidenceState::Absent => 0,
        _ => residence.bytes,
    };
    if one.state == sum.state {
        both.expires_at = sum.expires_at.zip(one.expires_at).map(|(a, b)| a.max(b));
        both.pinned |= one.pinned;
    }
    both.bytes = (taken(sum) + taken(one)).max(both.bytes);
    Some(both)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cold_replica_seems_fuller_and_warms_up() {
        let now = Instant::now();
        let mut seat = Seat::new(Arc::new(Replica::new("http://a", now)), now);
        let warm = seat.occupancy(now);
        seat.warm_from = Some(now);
        assert!((seat.occupancy(now) - 10.0 * warm).abs() < 1e-9);
        assert!((seat.occupancy(now + WARM_UP) - warm).abs() < 1e-9);
    }

    #[test]
    fn a_model_is_in_memory_where_any_replica_has_it() {
        let residence = |state, bytes, expires_at| {
            let mut residence = Residence::new(state, bytes);
            residence.expires_at = expires_at;
            Some(residence)
        };
        let (loaded, absent) = (ResidenceState::Loaded, ResidenceState::Absent);
        let mixed = together(residence(absent, 5, None), residence(loaded, 7, Some(9)));
        assert_eq!(mixed, residence(loaded, 7, Some(9)));
        let both = together(residence(loaded, 5, Some(11)), residence(loaded, 7, Some(9)));
        assert_eq!(both, residence(loaded, 12, Some(11)));
        assert_eq!(together(residence(loaded, 5, None), residence(loaded, 5, Some(9))).unwrap().expires_at, None);
        assert_eq!(together(None, residence(absent, 5, None)), residence(absent, 5, None));
    }

    #[test]
    fn slots_are_unknown_together_if_one_replica_does_not_tell() {
        let now = Instant::now();
        let route = |loads: &[Load]| {
            let served = |load: &Load| {
                let model = Arc::new(crate::test_models::Silent::new("m"));
                Arc::new(Served::new(model.info_of(), model, *load, now))
            };
            let info = Arc::new(crate::test_models::Silent::new("m").info_of());
            Route { info, seats: Roster::default(), served: loads.iter().map(served).collect() }.load()
        };
        let mut busy = Load::idle(8);
        busy.slots_free = 5;
        assert_eq!(route(&[busy, Load::idle(8)]).slots, 16);
        let mixed = route(&[busy, Load::idle(0)]);
        assert_eq!((mixed.slots, mixed.in_flight()), (0, 3));
    }

    #[test]
    fn slots_divide_the_load() {
        let now = Instant::now();
        let mut seat = Seat::new(Arc::new(Replica::new("http://a", now)), now);
        seat.slots = 4;
        assert!((seat.occupancy(now) - 0.25).abs() < 1e-9);
    }
}
