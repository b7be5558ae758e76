//! The least of all seats, or of a sample of them.

use fastrand::Rng;

use super::PickContext;
use crate::replica::{Roster, Seat};

/// Up to so many seats all are looked at.
const ALL: usize = 128;
/// Of more seats so many are drawn. The best of 64 is within the best twentieth of all in 96 of 100 draws, and the load
/// that follows is about that of looking at all (Mitzenmacher, "The Power of Two Choices", 2001, section 3: d choices).
const SAMPLE: usize = 64;

/// The open seat of the lowest score; equals are chosen among by chance. Where weights differ, one by chance, more likely the
/// less its load is for its weight ([`attraction`]).
pub(super) fn least(
    roster: &Roster,
    context: &PickContext<'_>,
    rng: &mut Rng,
    score: impl Fn(&Seat) -> f64,
    load: impl Fn(&Seat) -> f64,
) -> Option<usize> {
    let seats = context.view(roster);
    if roster.is_uneven() { by_chance(seats, context, rng, load) } else { lowest(seats, context, rng, score) }
}

/// How much a seat draws requests where weights differ: idle ones as their weights, busy ones so that their loads come to be
/// as their weights. With a plain minimum a replica of little weight would get nothing while others are idle; Envoy's
/// weighted least request divides a weight by requests for the same reason.
pub(super) fn attraction(seat: &Seat, load: f64, context: &PickContext<'_>) -> f64 {
    let share = seat.share(context.now);
    share / (1.0 + load / f64::from(seat.slots.max(1)) / share)
}

/// The open seat with the fewest requests a slot.
pub(super) fn requests(seats: &[Seat], context: &PickContext<'_>, rng: &mut Rng) -> Option<usize> {
    lowest(context.view(seats), context, rng, |seat| seat.occupancy(context.now))
}

fn lowest(seats: &[Seat], context: &PickContext<'_>, rng: &mut Rng, score: impl Fn(&Seat) -> f64) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    let mut ties = 0;
    each(seats, context, rng, |index, seat, rng| {
        let score = score(seat);
        match best {
            Some((_, least)) if score > least => {}
            Some((known, least)) if score == least => {
                // The n-th of n equals wins with chance 1/n: all have the same chance in one pass.
                ties += 1;
                if known != index && rng.u32(..ties) == 0 {
                    best = Some((index, score));
                }
            }
            _ => {
                best = Some((index, score));
                ties = 1;
            }
        }
    });
    best.map(|(index, _)| index)
}

fn by_chance(seats: &[Seat], context: &PickContext<'_>, rng: &mut Rng, load: impl Fn(&Seat) -> f64) -> Option<usize> {
    let (mut chosen, mut sum) = (None, 0.0);
    each(seats, context, rng, |index, seat, rng| {
        // Chao's reservoir of one: each ends up chosen in proportion to its attraction.
        let attraction = attraction(seat, load(seat), context);
        sum += attraction;
        if chosen.is_none() || rng.f64() * sum < attraction {
            chosen = Some(index);
        }
    });
    chosen
}

/// Visits all open seats, or a sample of them; all if the sample has none.
fn each(seats: &[Seat], context: &PickContext<'_>, rng: &mut Rng, mut visit: impl FnMut(usize, &Seat, &mut Rng)) {
    if seats.len() > ALL {
        let mut met = false;
        for _ in 0..SAMPLE {
            let index = rng.usize(..seats.len());
            if context.open(&seats[index]) {
                visit(index, &seats[index], rng);
                met = true;
            }
        }
        if met {
            return;
        }
    }
    for (index, seat) in seats.iter().enumerate().filter(|(_, seat)| context.open(seat)) {
        visit(index, seat, rng);
    }
}
