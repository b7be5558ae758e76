//! Why a replica was chosen, in a line for people (`x-llmo-route`).

use super::Dispatcher;
use crate::replica::Replica;

impl Dispatcher {
    /// The choice of `replica` for `model` after so many attempts, as it looks now: names and numbers only, never anything
    /// of the request.
    pub(super) fn explain(&self, model: &str, replica: &Replica, attempts: u32) -> String {
        let snapshot = self.pool().snapshot();
        let (up, known) = snapshot.route(model).map_or((0, 0), |route| (route.seats.len(), route.served.len()));
        format!(
            "policy={}; replica={}; usable={up}/{known}; running={}; attempts={attempts}",
            self.policy_name(),
            replica.id(),
            replica.in_flight()
        )
    }
}
