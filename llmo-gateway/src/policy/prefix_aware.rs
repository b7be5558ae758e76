//! The replica whose prefix cache knows the beginning of the prompt, as long as load stays balanced.

use fastrand::Rng;
use parking_lot::Mutex;

use super::{PickContext, Policy, PrefixIndex, Wants, least};
use crate::replica::{Roster, Seat};

/// A shorter match is worth nothing: most of the prompt has to be computed anyway. SGLang's `cache_threshold`.
const WORTHWHILE: f64 = 0.5;
/// A replica counts as crowded if it is so many times as full as another, and…
const TIMES_AS_FULL: f64 = 1.5;
/// …by so much fuller, in requests a slot.
const FULLER: f64 = 0.5;

/// Sends a prompt where one with the same beginning went before: its keys and values are there. Affinity ends where load
/// is out of balance: then, and for prompts that nobody knows, the emptier of two decides.
///
/// After `cache_aware` of SGLang's router (sgl-project/sglang, `sgl-router`), which gives affinity up while
/// `max - min > balance_abs_threshold && max > balance_rel_threshold * min` over all workers. Here the holder is
/// compared with the least loaded of a draw, so that the decision costs the same for any number of replicas, and ties of
/// misses go by load and not by the size of a tree (its issue 32983).
#[derive(Debug)]
pub struct PrefixAware {
    index: Mutex<PrefixIndex>,
}

impl PrefixAware {
    /// With an index of at most so many bytes.
    #[must_use]
    pub fn with_memory(bytes: usize) -> Self {
        Self { index: Mutex::new(PrefixIndex::with_memory(bytes)) }
    }

    /// Bytes that the index takes now.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.index.lock().memory()
    }
}

impl Policy for PrefixAware {
    fn pick(&self, roster: &Roster, context: &PickContext<'_>, rng: &mut Rng) -> Option<usize> {
        let seats = context.view(roster);
        let load = |seat: &Seat| f64::from(seat.replica.occupied());
        let emptiest = least::least(roster, context, rng, |seat| seat.occupancy(context.now), load)?;
        if context.blocks.is_empty() {
            context.because("emptiest-for-a-short-prompt");
            return Some(emptiest);
        }
        let usable = |serial| roster.place(serial).filter(|&i| i < seats.len() && context.open(&seats[i]));
        let mut holders = [0; 8];
        let mut found = 0;
        if let Some((depth, serials)) = self.index.lock().longest(context.blocks, |serial| usable(serial).is_some())
            && depth as f64 >= WORTHWHILE * context.blocks.len() as f64
        {
            for (place, holder) in holders.iter_mut().zip(serials.into_iter().flatten().filter_map(usable)) {
                *place = holder;
                found += 1;
            }
        }
        Some(affine(seats, &holders[..found], emptiest, context))
    }

    fn routed(&self, seat: &Seat, context: &PickContext<'_>) {
        if !context.blocks.is_empty() {
            self.index.lock().insert(context.blocks, seat.replica.serial());
        }
    }

    fn wants(&self) -> Wants {
        Wants::Blocks
    }

    fn name(&self) -> &'static str {
        "prefix-aware"
    }

    fn reason(&self) -> &'static str {
        "knows-its-beginning"
    }
}

/// The emptiest of those that know the prompt, unless it is crowded compared with the emptiest of others.
fn affine(seats: &[Seat], holders: &[usize], emptiest: usize, context: &PickContext<'_>) -> usize {
    let occupancy = |index: usize| seats[index].occupancy(context.now);
    let best = holders.iter().copied().min_by(|a, b| occupancy(*a).total_cmp(&occupancy(*b)));
    let balanced = |holder: &usize| {
        let (here, there) = (occupancy(*holder), occupancy(emptiest));
        here <= there * TIMES_AS_FULL || here - there <= FULLER
    };
    context.because(match best {
        None => "emptiest-since-its-beginning-is-new",
        Some(best) if balanced(&best) => "knows-its-beginning",
        Some(_) => "emptiest-since-who-knows-its-beginning-is-crowded",
    });
    best.filter(balanced).unwrap_or(emptiest)
}
