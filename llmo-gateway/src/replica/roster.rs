//! The seats among which a policy chooses.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::{Replica, Ring, Seat, Tally};

/// The seats of one model, those first that have it in memory, with what policies look up among them. What costs a pass
/// over all seats is made once for each snapshot, when it is first asked for.
#[derive(Debug, Default)]
pub struct Roster {
    seats: Vec<Seat>,
    resident: usize,
    uneven: bool,
    capacity: f64,
    places: OnceLock<HashMap<u32, usize>>,
    /// All that are known to have the model, also those that can't be used now: keys of a replica that is away for a
    /// moment find it again.
    members: Vec<Arc<Replica>>,
    ring: Arc<OnceLock<Ring>>,
    running: Tally,
}

impl Roster {
    /// These seats.
    #[must_use]
    pub fn new(seats: Vec<Seat>) -> Self {
        let members = seats.iter().map(|seat| Arc::clone(&seat.replica)).collect();
        Self::of(seats, members, None)
    }

    /// These seats of these replicas. What still holds is taken over from the roster before.
    #[must_use]
    pub(super) fn of(mut seats: Vec<Seat>, members: Vec<Arc<Replica>>, before: Option<&Self>) -> Self {
        seats.sort_by_key(|seat| !seat.resident);
        let same = |before: &Self| {
            before.members.len() == members.len() && before.members.iter().zip(&members).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        Self {
            resident: seats.iter().take_while(|seat| seat.resident).count(),
            uneven: seats.windows(2).any(|pair| pair[0].weight.to_bits() != pair[1].weight.to_bits()),
            capacity: seats.iter().map(Seat::capacity).sum(),
            places: OnceLock::new(),
            ring: before.filter(|before| same(before)).map(|before| Arc::clone(&before.ring)).unwrap_or_default(),
            running: before.map(|before| before.running.clone()).unwrap_or_default(),
            members,
            seats,
        }
    }

    /// All that are known to have the model, also those that can't be used now.
    #[must_use]
    pub fn members(&self) -> &[Arc<Replica>] {
        &self.members
    }

    /// So many seats, the first ones, have the model in memory.
    #[must_use]
    pub fn resident(&self) -> usize {
        self.resident
    }

    /// Do weights differ?
    #[must_use]
    pub fn is_uneven(&self) -> bool {
        self.uneven
    }

    /// The capacities of all seats together.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        self.capacity
    }

    /// Requests of this model that this gateway has running.
    #[must_use]
    pub fn running(&self) -> &Tally {
        &self.running
    }

    /// The seat of the replica with this serial.
    #[must_use]
    pub fn place(&self, serial: u32) -> Option<usize> {
        let place = |(index, seat): (usize, &Seat)| (seat.replica.serial(), index);
        self.places.get_or_init(|| self.seats.iter().enumerate().map(place).collect()).get(&serial).copied()
    }

    /// The replicas on a circle.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        self.ring.get_or_init(|| Ring::new(self.members.iter().map(|replica| (replica.id(), replica.serial()))))
    }
}

impl Deref for Roster {
    type Target = [Seat];

    fn deref(&self) -> &[Seat] {
        &self.seats
    }
}
