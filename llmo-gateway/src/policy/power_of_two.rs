//! The better of two replicas drawn by chance.

use fastrand::Rng;

use super::{PickContext, Policy};
use crate::replica::Seat;

/// Power of two choices: draws two seats and takes the one where one more request is better off
/// ([`Seat::is_better_than`]: emptier, and not much slower). Nearly as even as looking at all of them, in constant time, and without the herd that
/// follows when many gateways send to the one least loaded replica.
///
/// Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
#[derive(Debug, Clone, Copy, Default)]
pub struct PowerOfTwo;

impl Policy for PowerOfTwo {
    fn pick(&self, seats: &[Seat], context: &PickContext<'_>, rng: &mut Rng) -> Option<usize> {
        let (a, b) = draw(seats, context, rng)?;
        // `a` was drawn by chance, so ties are broken by chance.
        let b_is_better = b != a && seats[b].is_better_than(&seats[a], context.now);
        Some(if b_is_better { b } else { a })
    }

    fn name(&self) -> &'static str {
        "power-of-two"
    }
}

/// Two different open seats; the same one twice if there is only one.
fn draw(seats: &[Seat], context: &PickContext<'_>, rng: &mut Rng) -> Option<(usize, usize)> {
    if context.tried.is_empty() {
        return two_below(seats.len(), rng);
    }
    // A retry is rare: it may cost a pass over the seats.
    let open: Vec<usize> = (0..seats.len()).filter(|&i| context.open(&seats[i])).collect();
    two_below(open.len(), rng).map(|(a, b)| (open[a], open[b]))
}

fn two_below(n: usize, rng: &mut Rng) -> Option<(usize, usize)> {
    match n {
        0 => None,
        1 => Some((0, 0)),
        _ => {
            let a = rng.usize(..n);
            let b = rng.usize(..n - 1);
            Some((a, if b >= a { b + 1 } else { b }))
        }
    }
}
