//! One replica after the other.

use std::sync::atomic::{AtomicUsize, Ordering};

use fastrand::Rng;

use super::{PickContext, Policy};
use crate::replica::Seat;

/// Round robin over the open seats, whatever their load. A cold seat is passed over as often as it is cold.
#[derive(Debug, Default)]
pub struct RoundRobin {
    next: AtomicUsize,
}

impl Policy for RoundRobin {
    fn pick(&self, seats: &[Seat], context: &PickContext<'_>, rng: &mut Rng) -> Option<usize> {
        if seats.is_empty() {
            return None;
        }
        let mut cold = None;
        for _ in 0..seats.len() {
            let index = self.next.fetch_add(1, Ordering::Relaxed) % seats.len();
            if !context.open(&seats[index]) {
                continue;
            }
            let warmth = seats[index].warmth(context.now);
            if warmth >= 1.0 || rng.f64() < warmth {
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
}
