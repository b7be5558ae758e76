//! The replica with the fewest requests.

use fastrand::Rng;

use super::{PickContext, Policy};
use crate::replica::Seat;

/// The open seat with the lowest [`Seat::occupancy`]; ties are broken by chance. Looks at every seat.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastRequests;

impl Policy for LeastRequests {
    fn pick(&self, seats: &[Seat], context: &PickContext<'_>, rng: &mut Rng) -> Option<usize> {
        let mut best: Option<(usize, f64)> = None;
        let mut ties = 0;
        for (index, seat) in seats.iter().enumerate().filter(|(_, seat)| context.open(seat)) {
            let occupancy = seat.occupancy(context.now);
            match best {
                Some((_, least)) if occupancy > least => {}
                Some((_, least)) if occupancy == least => {
                    // The n-th of n equals wins with chance 1/n: all have the same chance in one pass.
                    ties += 1;
                    if rng.u32(..ties) == 0 {
                        best = Some((index, occupancy));
                    }
                }
                _ => {
                    best = Some((index, occupancy));
                    ties = 1;
                }
            }
        }
        best.map(|(index, _)| index)
    }

    fn name(&self) -> &'static str {
        "least-requests"
    }
}
