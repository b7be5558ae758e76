//! What the engine and the archive's task both look at.

use std::collections::HashMap;
use std::sync::Arc;

use llmo_core::model::TokenId;
use llmo_core::store::StorePath;
use parking_lot::Mutex;

use super::format::{Entry, Head};

/// An entry that holds the beginning of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super::super) struct Found {
    /// What to ask for it by.
    pub(in super::super::super) number: u64,
    /// Tokens in common.
    pub(in super::super::super) common: usize,
    /// Was it computed by long runs?
    pub(in super::super::super) long: bool,
}

/// How far an entry is that was asked for.
#[derive(Debug, Clone)]
pub(in super::super::super) enum Arrival {
    /// It is being read.
    Pending,
    Here(Arc<Entry>),
    /// It is gone, damaged, or could not be read.
    Missing,
}

pub(super) struct Shelf {
    inner: Mutex<Inner>,
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Inner {
    known: Vec<Known>,
    arrivals: HashMap<u64, Arrival>,
    next: u64,
}

struct Known {
    number: u64,
    path: StorePath,
    head: Head,
}

impl Shelf {
    pub(super) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { inner: Mutex::default(), wake: Box::new(wake) }
    }

    pub(super) fn find(&self, salt: &[u8; 32], prompt: &[TokenId]) -> Option<Found> {
        let inner = self.inner.lock();
        let of_tenant = inner.known.iter().filter(|known| known.head.salt == *salt);
        let found = of_tenant.map(|known| Found {
            number: known.number,
            common: known.head.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count(),
            long: known.head.long,
        });
        found.max_by_key(|found| found.common).filter(|found| found.common > 0)
    }

    /// Is there an entry that begins with these tokens, or all but with the last few?
    pub(super) fn has(&self, salt: &[u8; 32], tokens: &[TokenId]) -> bool {
        self.find(salt, tokens).is_some_and(|found| found.common + 64 > tokens.len())
    }

    /// The path of an entry that nobody has asked for yet. It is expected from now on.
    pub(super) fn expect(&self, number: u64) -> Option<StorePath> {
        let mut inner = self.inner.lock();
        if inner.arrivals.contains_key(&number) {
            return None;
        }
        let path = inner.known.iter().find(|known| known.number == number).map(|known| known.path.clone());
        inner.arrivals.insert(number, if path.is_some() { Arrival::Pending } else { Arrival::Missing });
        path
    }

    pub(super) fn arrival(&self, number: u64) -> Arrival {
        self.inner.lock().arrivals.get(&number).cloned().unwrap_or(Arrival::Missing)
    }

    pub(super) fn forget(&self, number: u64) {
        self.inner.lock().arrivals.remove(&number);
    }

    /// It came, or won't.
    pub(super) fn arrived(&self, number: u64, arrival: Arrival) {
        {
            let mut inner = self.inner.lock();
            if matches!(arrival, Arrival::Missing) {
                inner.known.retain(|known| known.number != number);
            }
            // Only if somebody still waits: entries are large.
            if let Some(expected) = inner.arrivals.get_mut(&number) {
                *expected = arrival;
            }
        }
        (self.wake)();
    }

    pub(super) fn knows(&self, path: &StorePath) -> bool {
        self.inner.lock().known.iter().any(|known| known.path == *path)
    }

    pub(super) fn add(&self, path: StorePath, head: Head) {
        let mut inner = self.inner.lock();
        if inner.known.iter().any(|known| known.path == path) {
            return;
        }
        inner.next += 1;
        let number = inner.next;
        inner.known.push(Known { number, path, head });
    }

    /// Only these are still there.
    pub(super) fn retain(&self, is_there: impl Fn(&StorePath) -> bool) {
        self.inner.lock().known.retain(|known| is_there(&known.path));
    }
}
