//! Finding out whether a key was written between two moments.

use std::hash::{BuildHasher, RandomState};

use llmo_core::CacheKey;
use tokio::sync::Mutex;

/// More stripes: fewer keys that share one, and so fewer promotions given up for nothing.
const STRIPES: usize = 64;

/// Counts writes, a key's together with those of the keys that share its stripe.
///
/// The lock of a stripe is held while the first tier, which is in memory, is written; never while the second is asked.
#[derive(Debug)]
pub(super) struct Epochs {
    stripes: [Mutex<u64>; STRIPES],
    hasher: RandomState,
}

impl Default for Epochs {
    fn default() -> Self {
        Self { stripes: std::array::from_fn(|_| Mutex::new(0)), hasher: RandomState::new() }
    }
}

impl Epochs {
    /// The count for this key.
    pub(super) fn of(&self, key: &CacheKey) -> &Mutex<u64> {
        &self.stripes[self.hasher.hash_one(key) as usize % STRIPES]
    }

    /// Counts a write of every key.
    pub(super) async fn advance_all(&self) {
        for stripe in &self.stripes {
            *stripe.lock().await += 1;
        }
    }
}
