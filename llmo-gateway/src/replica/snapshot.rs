//! Everything about replicas that changes seldom, as one immutable value.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use llmo_core::model::{Capabilities, ModelInfo, Quantisation, ResidenceState};

use super::{Health, Replica, Roster, Route, Seat, Served};

/// One replica as of a snapshot.
#[derive(Debug, Clone)]
pub struct ReplicaState {
    /// Who, and its live counters.
    pub replica: Arc<Replica>,
    /// How it does.
    pub health: Health,
    /// What it serves, in its own order; what it served last while it is down.
    pub served: Vec<Arc<Served>>,
}

impl ReplicaState {
    /// A replica that wasn't checked yet.
    #[must_use]
    pub fn new(replica: Arc<Replica>) -> Self {
        Self { replica, health: Health::default(), served: Vec::new() }
    }

    /// One that joins while others serve.
    #[must_use]
    pub fn joining(replica: Arc<Replica>) -> Self {
        Self { replica, health: Health::joining(), served: Vec::new() }
    }

    /// May new requests go there?
    #[must_use]
    pub fn takes_requests(&self, now: Instant) -> bool {
        self.health.usable(now) && !self.replica.is_retiring() && self.replica.weight() > 0.0
    }
}

/// All replicas, and the routes that follow from them. Built once for each change; read without locks.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The replicas in the order of the configuration.
    pub replicas: Vec<ReplicaState>,
    routes: HashMap<String, Route>,
    names: Vec<String>,
}

impl Snapshot {
    /// Works out the routes as of `now`. Costs a pass over all replicas.
    #[must_use]
    pub fn build(replicas: Vec<ReplicaState>, now: Instant) -> Self {
        Self::default().successor(replicas, now)
    }

    /// The snapshot after this one: takes over what still holds and costs more than a pass over all replicas.
    #[must_use]
    pub fn successor(&self, replicas: Vec<ReplicaState>, now: Instant) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut by_name: HashMap<String, Vec<(&ReplicaState, &Arc<Served>)>> = HashMap::new();
        for state in &replicas {
            for served in &state.served {
                let entry = by_name.entry(served.info.id.clone()).or_insert_with(|| {
                    names.push(served.info.id.clone());
                    Vec::new()
                });
                entry.push((state, served));
            }
        }
        let route = |(name, known): (String, Vec<_>)| {
            let route = route(&known, self.routes.get(&name), now);
            (name, route)
        };
        let routes = by_name.into_iter().map(route).collect();
        // A model that generates comes first: it is what a request without a model name wants.
        let generates = |routes: &HashMap<String, Route>, name: &String| {
            routes.get(name).is_some_and(|route| route.info.capabilities.generate)
        };
        names.sort_by_key(|name| !generates(&routes, name));
        Self { replicas, routes, names }
    }

    /// The way to a model; `None` if no replica ever said that it has it. The empty name means the default model.
    #[must_use]
    pub fn route(&self, model: &str) -> Option<&Route> {
        let name = if model.is_empty() { self.names.first()? } else { model };
        self.routes.get(name)
    }

    /// Can anything be served?
    #[must_use]
    pub fn any_seat(&self) -> bool {
        self.routes.values().any(|route| !route.seats.is_empty())
    }

    /// All models ever seen, the default one first.
    pub fn models(&self) -> impl Iterator<Item = &Arc<ModelInfo>> {
        self.names.iter().filter_map(|name| self.routes.get(name)).map(|route| &route.info)
    }
}

fn route(known: &[(&ReplicaState, &Arc<Served>)], before: Option<&Route>, now: Instant) -> Route {
    // While nobody serves it, the model is what it was when somebody did.
    let mut usable: Vec<_> = known.iter().filter(|(state, _)| state.takes_requests(now)).collect();
    let infos = if usable.is_empty() {
        known.iter().map(|(_, served)| &served.info).collect::<Vec<_>>()
    } else {
        usable.iter().map(|(_, served)| &served.info).collect()
    };
    // Who has it in memory knows it; who has it on disk knows its header.
    let knows =
        |served: &Served| served.load().residence.is_none_or(|residence| residence.state == ResidenceState::Loaded);
    // One that loads it will have it before another could.
    let resident =
        |served: &Served| served.load().residence.is_none_or(|residence| residence.state != ResidenceState::Absent);
    let known_well: Vec<_> =
        usable.iter().filter(|(_, served)| knows(served)).map(|(_, served)| &served.info).collect();
    let infos = if known_well.is_empty() { infos } else { known_well };
    let info = Arc::new(agreed(&infos));
    // Seats and `served` in one order, which is that of the roster.
    usable.sort_by_key(|(_, served)| !resident(served));
    let seats = usable.iter().map(|(state, served)| Seat {
        replica: Arc::clone(&state.replica),
        latency: Arc::clone(&served.latency),
        slots: served.load().slots.max(1),
        warm_from: state.health.warm_from(now),
        weight: state.replica.weight(),
        resident: resident(served),
        running: served.running.clone(),
    });
    let members = known.iter().map(|(state, _)| Arc::clone(&state.replica)).collect();
    Route {
        info,
        seats: Roster::of(seats.collect(), members, before.map(|route| &route.seats)),
        served: usable.iter().map(|(_, served)| Arc::clone(served)).collect(),
    }
}

/// What can be promised whichever replica answers.
fn agreed(infos: &[&ModelInfo]) -> ModelInfo {
    let Some((first, others)) = infos.split_first() else { return ModelInfo::new("", "remote") };
    let mut agreed = (*first).clone();
    for other in others {
        agreed.context_length = agreed.context_length.min(other.context_length);
        agreed.created = agreed.created.min(other.created);
        agreed.capabilities = both(agreed.capabilities, other.capabilities);
        if agreed.quantisation != other.quantisation {
            agreed.quantisation = Quantisation::Unknown;
        }
        if agreed.vocab_size != other.vocab_size {
            agreed.vocab_size = 0;
        }
    }
    agreed.digest = joint_digest(infos);
    agreed
}

fn both(a: Capabilities, b: Capabilities) -> Capabilities {
    let mut both = a;
    both.generate &= b.generate;
    both.chat &= b.chat;
    both.embed &= b.embed;
    both.tokenize &= b.tokenize;
    both.logprobs &= b.logprobs;
    both.token_ids &= b.token_ids;
    both.constraints &= b.constraints;
    both.tools &= b.tools;
    both.rerank &= b.rerank;
    both
}

/// Part of cache keys: while replicas have different weights under one name, it is that of neither.
fn joint_digest(infos: &[&ModelInfo]) -> Option<String> {
    let mut digests: Vec<&str> = infos.iter().map(|info| info.digest.as_deref().unwrap_or("unknown")).collect();
    digests.sort_unstable();
    digests.dedup();
    match digests[..] {
        [] | ["unknown"] => None,
        _ => Some(digests.join("+")),
    }
}

#[cfg(test)]
mod tests;
