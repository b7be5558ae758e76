//! The replica with the least work, in tokens.

use fastrand::Rng;

use super::{PickContext, Policy, least};
use crate::replica::{Roster, Seat};

/// Tokens that weigh as much as a request where loads are compared with weights.
const A_REQUEST: f64 = 512.0;

/// The open seat with the lowest [`Seat::token_pressure`]. A request of 20 tokens and
/// one of 8 000 are one request each; what a replica has to do is the difference. Looks at every seat, or at a sample
/// where there are more than 128.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastTokens;

impl Policy for LeastTokens {
    fn pick(&self, roster: &Roster, context: &PickContext<'_>, rng: &mut Rng) -> Option<usize> {
        let load = |seat: &Seat| seat.replica.tokens().outstanding() as f64 / A_REQUEST;
        least::least(roster, context, rng, |seat| seat.token_pressure(context.tokens.max(1), context.now), load)
    }

    fn name(&self) -> &'static str {
        "least-tokens"
    }

    fn reason(&self) -> &'static str {
        "fewest-tokens"
    }
}
