//! Makes the pool what sources want.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Target;
use crate::replica::{Member, Phase, Pool, Replica};

/// Longest wait for the first checks of new replicas before old ones go.
const HANDOVER: Duration = Duration::from_millis(1_500);

/// The members of a pool. Checking them, and removing those that retired once they are idle, is the work of
/// [`check_members`](crate::health::check_members).
#[derive(Debug)]
pub struct Fleet {
    pool: Arc<Pool>,
}

impl Fleet {
    /// Those of this pool.
    #[must_use]
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    /// Makes these the replicas. New ones come first; once they were checked, or the time for that is over, `between` runs,
    /// and those that nobody wants any more retire: what runs on them is finished there.
    pub async fn apply(&self, targets: &[Target], between: impl FnOnce()) {
        let before: Vec<Arc<Replica>> =
            self.pool.snapshot().replicas.iter().map(|state| Arc::clone(&state.replica)).collect();
        let mut members = Vec::with_capacity(targets.len());
        let mut new = Vec::new();
        for target in targets {
            // One that is just retiring comes back, with what still runs there.
            let known = before.iter().find(|replica| target.is(replica)).cloned();
            let replica = known.unwrap_or_else(|| {
                let replica = Arc::new(target.replica(Instant::now()));
                new.push(Arc::clone(&replica));
                replica
            });
            members.push(Member { replica, weight: target.weight });
        }
        let goes = |replica: &&Arc<Replica>| !replica.is_retiring() && !targets.iter().any(|target| target.is(replica));
        let going: Vec<Member> = before.iter().filter(goes).map(as_it_is).collect();
        if !new.is_empty() && !going.is_empty() {
            let everybody: Vec<Member> = members.iter().cloned().chain(going).collect();
            self.pool.set_members(&everybody, Instant::now());
            self.first_checks(&new).await;
        }
        between();
        self.pool.set_members(&members, Instant::now());
    }

    async fn first_checks(&self, new: &[Arc<Replica>]) {
        let unchecked = || {
            let snapshot = self.pool.snapshot();
            let waits = |replica: &Arc<Replica>| {
                let state = snapshot.replicas.iter().find(|state| Arc::ptr_eq(&state.replica, replica));
                state.is_some_and(|state| state.health.phase() == Phase::Unknown)
            };
            new.iter().any(waits)
        };
        let checked = async {
            while unchecked() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Those that take longer come to be used when they are ready; nobody waits for them.
        let _ = tokio::time::timeout(HANDOVER, checked).await;
    }
}

fn as_it_is(replica: &Arc<Replica>) -> Member {
    Member { weight: replica.weight() as u32, replica: Arc::clone(replica) }
}

#[cfg(test)]
mod tests;
