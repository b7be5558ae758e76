//! The better of two replicas drawn by chance.

use fastrand::Rng;

use super::{PickContext, Policy, least};
use crate::replica::{Roster, Seat};

/// Power of two choices: draws two seats and takes the one where one more request is better off
/// ([`Seat::is_better_than`]: emptier, and not much slower). Nearly as even as looking at all of them, in constant time, and without the herd that
/// follows when many gateways send to the one least loaded replica.
///
/// Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
#[derive(Debug, Clone, Copy, Default)]
pub struct PowerOfTwo;

impl Policy for PowerOfTwo {
    fn pick(&self, roster: &Roster, context: &PickContext<'_>, rng: &mut Rng) -> Option<usize> {
        let seats = context.view(roster);
        let (a, b) = draw(seats, context, rng)?;
        // `a` was drawn by chance, so ties are broken by chance.
        let b_is_better = b != a
            && if roster.is_uneven() {
                b_by_chance(&seats[a], &seats[b], context, rng)
            } else {
                seats[b].is_better_than(&seats[a], context.now)
            };
        Some(if b_is_better { b } else { a })
    }

    fn name(&self) -> &'static str {
        "power-of-two"
    }

    fn reason(&self) -> &'static str {
        "better-of-two"
    }
}

/// Where weights differ the emptier one is only more likely: of two idle replicas the one of little weight gets its share
/// too.
fn b_by_chance(a: &Seat, b: &Seat, context: &PickContext<'_>, rng: &mut Rng) -> bool {
    let attraction = |seat: &Seat| least::attraction(seat, f64::from(seat.replica.occupied()), context);
    let (a, b) = (attraction(a), attraction(b));
    rng.f64() * (a + b) < b
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
