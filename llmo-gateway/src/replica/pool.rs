//! The one writer of snapshots.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use llmo_core::model::{Model, ModelInfo};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{EventLog, OutlierOptions, ProbeOutcome, Replica, ReplicaState, Reported, Served, Snapshot};

/// Something that came from a replica this recently, about while a health check ran, proves that it lives, whatever the late
/// check says. Longer, and a process that hangs would live on by what it said before.
const PROOF_OF_LIFE: Duration = Duration::from_millis(600);

/// Makes the client that talks to one model at one replica. `Err` says why it can't.
pub type Connect = dyn Fn(&ModelInfo, &Replica) -> Result<Arc<dyn Model>, String> + Send + Sync;

/// All replicas. Readers take a [`Snapshot`]; changes are made one after the other and swap in a new one.
pub struct Pool {
    current: ArcSwap<Snapshot>,
    writer: Mutex<()>,
    connect: Box<Connect>,
    outlier: OutlierOptions,
    events: EventLog,
    members: watch::Sender<u64>,
}

impl Pool {
    /// Knows these replicas; none is used before its first health check.
    #[must_use]
    pub fn new(replicas: Vec<Arc<Replica>>, outlier: OutlierOptions, connect: Box<Connect>, now: Instant) -> Self {
        let states = replicas.into_iter().map(ReplicaState::new).collect();
        Self {
            current: ArcSwap::from_pointee(Snapshot::build(states, now)),
            writer: Mutex::new(()),
            connect,
            outlier,
            events: EventLog::default(),
            members: watch::Sender::new(0),
        }
    }

    /// How things stand. Cheap; hold it only for a decision.
    #[must_use]
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// What changed lately.
    #[must_use]
    pub fn events(&self) -> &EventLog {
        &self.events
    }

    /// Adds a replica; it is used after its first health check, and gets its share slowly. One that is known under this id
    /// stays what it is, but does not retire any more. Returns the replica of this id.
    pub fn add(&self, replica: Arc<Replica>, now: Instant) -> Arc<Replica> {
        if let Some(known) = self.find(replica.id()) {
            known.set_retiring(false);
            self.change(&known, now, |_, _| true);
            return known;
        }
        self.replace_members(now, |states| {
            if states.iter().all(|state| state.replica.id() != replica.id()) {
                states.push(ReplicaState::joining(Arc::clone(&replica)));
            }
        });
        self.events.push(replica.id(), "added", "");
        self.find(replica.id()).unwrap_or(replica)
    }

    /// Gives a replica no more requests; what runs there goes on. Once idle it is removed by whoever checks it
    /// ([`check_members`](crate::health::check_members)). False if nobody has this id.
    pub fn retire(&self, id: &str, now: Instant) -> bool {
        let Some(replica) = self.find(id) else { return false };
        replica.set_retiring(true);
        self.change(&replica, now, |_, _| true);
        self.events.push(id, "retiring", "");
        replica.ask_check();
        true
    }

    /// Forgets a replica at once. Streams that run there go on, unwatched by health checks; [`retire`](Self::retire) is
    /// the gentle way. False if nobody has this id.
    pub fn remove(&self, id: &str, now: Instant) -> bool {
        let Some(replica) = self.find(id) else { return false };
        self.replace_members(now, |states| states.retain(|state| !Arc::ptr_eq(&state.replica, &replica)));
        self.events.push(id, "removed", "");
        true
    }

    /// Gives a replica another weight (1.0 for most; 0: no requests). False if nobody has this id.
    pub fn set_weight(&self, id: &str, weight: f32, now: Instant) -> bool {
        let Some(replica) = self.find(id) else { return false };
        if replica.weight().to_bits() != weight.to_bits() {
            replica.set_weight(weight);
            self.change(&replica, now, |_, _| true);
        }
        true
    }

    /// The replica of this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Replica>> {
        let snapshot = self.snapshot();
        let state = snapshot.replicas.iter().find(|state| state.replica.id() == id)?;
        Some(Arc::clone(&state.replica))
    }

    /// Changes whenever a replica is added or removed.
    #[must_use]
    pub fn members(&self) -> watch::Receiver<u64> {
        self.members.subscribe()
    }

    fn replace_members(&self, now: Instant, f: impl FnOnce(&mut Vec<ReplicaState>)) {
        let _one_at_a_time = self.writer.lock();
        let before = self.current.load_full();
        let mut states = before.replicas.clone();
        f(&mut states);
        self.current.store(Arc::new(before.successor(states, now)));
        self.members.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Takes in what a health check found.
    pub fn probed(&self, replica: &Arc<Replica>, outcome: &ProbeOutcome, now: Instant) {
        if let ProbeOutcome::Ready(models) | ProbeOutcome::NotReady { models, .. } = outcome {
            replica.report(models.iter().map(|m| &m.load));
        }
        self.change(replica, now, |state, _| {
            state.health.on_probe(outcome, replica.heard_within(PROOF_OF_LIFE, now), now);
            match outcome {
                ProbeOutcome::Ready(models) => self.reconcile(state, models, now),
                // While it loads it may not know its models yet: that is no reason to forget them.
                ProbeOutcome::NotReady { models, .. } if !models.is_empty() => self.reconcile(state, models, now),
                _ => false,
            }
        });
    }

    /// Takes in that a request sent at `sent` found nobody there, or lost its connection before any output. The
    /// replica is down at once; a health check is asked for, so that a mistake does not last.
    pub fn lost(&self, replica: &Arc<Replica>, reason: &str, sent: Instant, now: Instant) {
        self.change(replica, now, |state, _| {
            state.health.on_lost(reason, sent, now);
            false
        });
        self.failed(replica, reason, now);
        replica.ask_check();
    }

    /// Takes in that a request failed through the replica's fault. Too many in a row eject it, unless more than half
    /// of all replicas would be out then: failing together is no outlier.
    pub fn failed(&self, replica: &Arc<Replica>, reason: &str, now: Instant) {
        let failures = replica.count_failure();
        if failures < self.outlier.failures {
            return;
        }
        if let Some(length) = self.eject(replica, now) {
            self.ejected(replica, format!("{failures} failures in a row, out for {} s: {reason}", length.as_secs()));
        }
    }

    /// Leaves a replica out, and tells for how long; not if more than half of all would be out then.
    fn eject(&self, replica: &Arc<Replica>, now: Instant) -> Option<Duration> {
        let mut ejected = None;
        self.change(replica, now, |state, all| {
            let out = all.replicas.iter().filter(|s| s.health.outlier.ejected_until(now).is_some()).count();
            let already = state.health.outlier.ejected_until(now).is_some();
            if already || (out + 1) * 2 > all.replicas.len() {
                return false;
            }
            ejected = Some(state.health.outlier.eject(now, &self.outlier));
            true
        });
        ejected
    }

    fn ejected(&self, replica: &Replica, reason: String) {
        tracing::warn!(replica = replica.id(), %reason, "replica ejected");
        self.events.push(replica.id(), "ejected", reason);
        // The checker must learn when to let it back in.
        replica.ask_check();
    }

    /// Lets a replica back in whose ejection ended.
    pub fn release(&self, replica: &Arc<Replica>, now: Instant) {
        replica.count_success();
        self.events.push(replica.id(), "released", "its time is over");
        self.change(replica, now, |_, _| true);
    }

    /// Changes one replica's state, and swaps in a new snapshot if that made a difference.
    fn change(&self, replica: &Arc<Replica>, now: Instant, f: impl FnOnce(&mut ReplicaState, &Snapshot) -> bool) {
        let _one_at_a_time = self.writer.lock();
        let before = self.current.load_full();
        let Some(index) = before.replicas.iter().position(|s| Arc::ptr_eq(&s.replica, replica)) else { return };
        let mut state = before.replicas[index].clone();
        let changed = f(&mut state, &before);
        let old = &before.replicas[index];
        if !changed && state.health == old.health {
            return;
        }
        if state.health.phase() != old.health.phase() {
            let (phase, reason) = (state.health.phase(), state.health.reasons().join("; "));
            tracing::info!(replica = replica.id(), phase = phase.as_str(), %reason, "replica changed");
            self.events.push(replica.id(), phase.as_str(), reason);
        }
        let down = state.health.phase() == super::Phase::Down;
        let mut states = before.replicas.clone();
        states[index] = state;
        self.current.store(Arc::new(before.successor(states, now)));
        // After the snapshot: whoever wakes from this must not choose the dead replica again.
        replica.set_down(down, now);
    }

    /// Makes `state.served` what was reported, keeping what did not change. True if anything did.
    fn reconcile(&self, state: &mut ReplicaState, models: &[Reported], now: Instant) -> bool {
        let mut changed = models.len() != state.served.len();
        let mut served = Vec::with_capacity(models.len());
        for (place, model) in models.iter().enumerate() {
            let known = state.served.iter().position(|s| s.info == model.info);
            if let Some(index) = known {
                let kept = &state.served[index];
                // Seats carry slots and residence: new ones need a new snapshot.
                let before = kept.load();
                changed |= index != place || before.slots != model.load.slots;
                changed |= before.residence.map(|r| r.state) != model.load.residence.map(|r| r.state);
                kept.report(model.load);
                served.push(Arc::clone(kept));
                continue;
            }
            match (self.connect)(&model.info, &state.replica) {
                Ok(client) => served.push(Arc::new(Served::new(model.info.clone(), client, model.load, now))),
                Err(reason) => {
                    tracing::warn!(replica = state.replica.id(), model = model.info.id, %reason, "cannot use model");
                }
            }
            changed = true;
        }
        state.served = served;
        changed
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("snapshot", &self.snapshot()).finish_non_exhaustive()
    }
}

mod membership;
mod slow;
#[cfg(test)]
mod tests;

pub use membership::Member;
