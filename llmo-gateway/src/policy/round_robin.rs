//! One replica after the other.

use std::sync::atomic::{AtomicUsize, Ordering};

use fastrand::Rng;

use super::{PickContext, Policy};
use crate::replica::Roster;

/// Seats that are passed over before the next one is taken as it is.
const MOST_PASSED: usize = 256;

/// Round robin over the open seats, whatever their load. A cold seat, or one of little weight, is passed over as often as
/// that.
#[derive(Debug, Default)]
pub struct RoundRobin {
    next: AtomicUsize,
}

impl Policy for RoundRobin {
    fn pick(&self, roster: &Roster, context: &PickContext<'_>, rng: &mut Rng) -> Option<usize> {
        let seats = context.view(roster);
        if seats.is_empty() {
            return None;
        }
        let full = seats.iter().take(MOST_PASSED).map(|seat| f64::from(seat.weight)).fold(f64::MIN_POSITIVE, f64::max);
        let mut cold = None;
        for _ in 0..seats.len().min(MOST_PASSED) {
            let index = self.next.fetch_add(1, Ordering::Relaxed) % seats.len();
            if !context.open(&seats[index]) {
                continue;
            }
            let share = seats[index].share(context.now) / full;
            if share >= 1.0 || rng.f64() < share {
                return Some(index);
            }
            cold = cold.or(Some(index));
        }
        // Other requests advance the cursor too: a pass of ours may have missed seats.
        cold.or_else(|| seats.iter().position(|seat| context.open(seat)))
    }

    fn name(&self) -> &'static str {
        "round-robin"
    }

    fn reason(&self) -> &'static str {
        "its-turn"
    }
}
