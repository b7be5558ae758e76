//! How many requests may run at once, and for whom.

use std::time::{Duration, Instant};

/// Of so many slots, one is kept for tenants below their share.
const KEPT_OF: usize = 16;
/// They are kept for so long after one of them was there.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// The places among those that run.
///
/// Where tenants compete, one that has had its share takes neither the places beyond the slots (what waits for a slot upstream would wait
/// before those of others) nor the last sixteenth of the slots. When answers are equally long, all slots that were taken at once are free
/// at once, and without that a tenant that asks for little would wait for this moment, however soon its turn is. While no tenant
/// is below its share, anybody takes everything: then nothing is idle.
#[derive(Debug, Clone, Copy, Default)]
pub struct Places {
    slots: Option<usize>,
    below: Option<Instant>,
}

impl Places {
    /// Takes in how many slots there are, if that is known.
    pub fn slots(&mut self, slots: Option<usize>) {
        self.slots = slots;
    }

    /// Takes in that a tenant below its share was let in.
    pub fn seen_below(&mut self, now: Instant) {
        self.below = Some(now);
    }

    /// How many may run, of `limit`, for another request to be let in.
    #[must_use]
    pub fn room(&self, limit: usize, below_its_share: bool, now: Instant) -> usize {
        let compete = self.below.is_some_and(|seen| now.saturating_duration_since(seen) < KEPT_FOR);
        if below_its_share || !compete {
            return limit;
        }
        let places = self.slots.map_or(limit, |slots| slots.min(limit));
        (places - places / KEPT_OF).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_places_are_kept_while_tenants_compete() {
        let (mut places, now) = (Places::default(), Instant::now());
        places.slots(Some(48));
        assert_eq!(places.room(55, false, now), 55, "nobody else is there");
        places.seen_below(now);
        assert_eq!(places.room(55, false, now), 45);
        assert_eq!(places.room(55, true, now), 55);
        assert_eq!(places.room(55, false, now + KEPT_FOR), 55, "nobody else is there any more");
    }

    #[test]
    fn few_slots_are_all_used() {
        let (mut places, now) = (Places::default(), Instant::now());
        places.seen_below(now);
        for slots in 1..16 {
            places.slots(Some(slots));
            assert_eq!(places.room(slots + 1, false, now), slots);
        }
        places.slots(None);
        assert_eq!(places.room(20, false, now), 19);
        assert_eq!(places.room(1, false, now), 1);
    }
}
