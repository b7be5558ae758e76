//! The replica with the fewest requests.

use fastrand::Rng;

use super::{PickContext, Policy, least};
use crate::replica::{Roster, Seat};

/// The open seat with the lowest [`Seat::occupancy`]; ties are broken by chance. Looks at
/// every seat, or at a sample where there are more than 128.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastRequests;

impl Policy for LeastRequests {
    fn pick(&self, roster: &Roster, context: &PickContext<'_>, rng: &mut Rng) -> Option<usize> {
        let load = |seat: &Seat| f64::from(seat.replica.occupied());
        least::least(roster, context, rng, |seat| seat.occupancy(context.now), load)
    }

    fn name(&self) -> &'static str {
        "least-requests"
    }

    fn reason(&self) -> &'static str {
        "fewest-requests"
    }
}
