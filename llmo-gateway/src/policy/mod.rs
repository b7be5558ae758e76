//! How a replica is chosen: filter → score → pick, without sockets, clocks or randomness of its own.
//!
//! The snapshot filters beforehand: a [`Route`](crate::replica::Route) has only [`Seat`]s that can be used. A [`Policy`]
//! leaves out those that this request tried already, scores ([`Seat::occupancy`], [`Seat::cost`]) and picks.
//!
//! A new policy is one file here, one line in [`from_config`] and the properties in `tests.rs`.

mod least_requests;
mod power_of_two;
mod round_robin;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;

use crate::replica::{Replica, Seat};

pub use least_requests::LeastRequests;
pub use power_of_two::PowerOfTwo;
pub use round_robin::RoundRobin;

/// Chooses a replica.
pub trait Policy: Send + Sync + std::fmt::Debug {
    /// The index of the chosen seat; `None` if every seat was tried already, or there is none.
    fn pick(&self, seats: &[Seat], context: &PickContext<'_>, rng: &mut Rng) -> Option<usize>;

    /// Its name in the configuration.
    fn name(&self) -> &'static str;
}

/// What a choice depends on besides the seats.
#[derive(Debug, Clone, Copy)]
pub struct PickContext<'a> {
    /// The time.
    pub now: Instant,
    /// Replicas that failed this request already. Usually empty, never long.
    pub tried: &'a [Arc<Replica>],
}

impl<'a> PickContext<'a> {
    /// A first attempt.
    #[must_use]
    pub fn first(now: Instant) -> Self {
        Self { now, tried: &[] }
    }

    /// May this seat be picked?
    #[must_use]
    pub fn open(&self, seat: &Seat) -> bool {
        !self.tried.iter().any(|tried| Arc::ptr_eq(tried, &seat.replica))
    }
}

/// The policy that the configuration names.
#[must_use]
pub fn from_config(policy: llmo_config::Policy) -> Arc<dyn Policy> {
    match policy {
        llmo_config::Policy::RoundRobin => Arc::new(RoundRobin::default()),
        llmo_config::Policy::LeastRequests => Arc::new(LeastRequests),
        // Also for policies that a newer configuration knows and this gateway doesn't.
        _ => Arc::new(PowerOfTwo),
    }
}
