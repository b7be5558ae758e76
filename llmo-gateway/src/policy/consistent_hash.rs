//! Requests of one key to one replica, as long as it has room.

use fastrand::Rng;
use llmo_config::HashOn;

use super::{PickContext, Policy, Wants, least};
use crate::replica::{Roster, Seat};

/// No replica gets more than so many times its share.
const BOUND: f64 = 1.25;
/// Points of the ring that are looked at before load alone decides.
const MOST_STEPS: usize = 256;

/// Consistent hashing with bounded loads: a key belongs to the next replica on the ring that has less than 1.25 times its
/// share of what runs, or a free slot.
///
/// Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018. Their bins are of equal size; here a
/// share is proportional to slots and weight, and nobody is full who has a free slot.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConsistentHash {
    on: HashOn,
}

impl ConsistentHash {
    /// With keys made from this.
    #[must_use]
    pub fn on(on: HashOn) -> Self {
        Self { on }
    }

    /// Most requests that this seat may have, once there is one more.
    pub(super) fn bound(roster: &Roster, seat: &Seat, context: &PickContext<'_>) -> u32 {
        let share = f64::from(seat.slots.max(1)) * seat.share(context.now) / roster.capacity().max(f64::MIN_POSITIVE);
        let all = f64::from(roster.running().count()) + 1.0;
        let bound = (BOUND * all * share).ceil();
        let slots = (f64::from(seat.slots) * seat.warmth(context.now)).floor();
        bound.max(slots).clamp(1.0, f64::from(u32::MAX)) as u32
    }
}

impl Policy for ConsistentHash {
    fn pick(&self, roster: &Roster, context: &PickContext<'_>, rng: &mut Rng) -> Option<usize> {
        let seats = context.view(roster);
        let fits = |index: &usize| {
            let seat = &roster[*index];
            *index < seats.len() && context.open(seat) && seat.running.count() < Self::bound(roster, seat, context)
        };
        let key = context.key.unwrap_or_else(|| rng.u64(..));
        let mut walk = roster.ring().walk(key).take(MOST_STEPS);
        let owner = walk.next();
        let place = |serial| roster.place(serial).filter(fits);
        if let Some(own) = owner.and_then(place) {
            context.because(if context.key.is_some() { self.reason() } else { "it-has-no-key" });
            return Some(own);
        }
        context.because("its-owner-is-full-or-away");
        walk.find_map(place).or_else(|| least::requests(seats, context, rng))
    }

    fn wants(&self) -> Wants {
        Wants::Key(self.on)
    }

    fn name(&self) -> &'static str {
        "consistent-hash"
    }

    fn reason(&self) -> &'static str {
        "owner-of-its-key"
    }
}
