//! Why a replica was chosen, in a line for people (`x-llmo-route`).

use super::Dispatcher;
use crate::replica::Lease;

impl Dispatcher {
    /// The choice of a replica for `model` after so many attempts, as it looks now: names and numbers only, never anything of
    /// the request. What rules did before is put in front of it where rules are (`routing/explained.rs`).
    pub(super) fn explain(&self, model: &str, lease: &Lease, attempts: u32) -> String {
        let replica = lease.replica();
        let snapshot = self.pool().snapshot();
        let (up, known) = snapshot.route(model).map_or((0, 0), |route| (route.seats.len(), route.served.len()));
        format!(
            "policy={}; because={}; replica={}; usable={up}/{known}; running={}; attempts={attempts}",
            self.policy_name(),
            lease.why(),
            replica.id(),
            replica.in_flight()
        )
    }
}
