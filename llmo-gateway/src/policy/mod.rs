//! How a replica is chosen: filter → score → pick, without sockets, clocks or randomness of its own.
//!
//! ```text
//!  Snapshot ── takes_requests ──► Roster ── choose: in memory first ──► Policy: untried, score, pick ──► seat
//! ```
//!
//! The snapshot filters beforehand: a [`Roster`] has only [`Seat`]s that can be used, and first those that have the model in
//! memory, which [`choose`] prefers. A [`Policy`] leaves out those that this request tried already, scores
//! ([`Seat::occupancy`], [`Seat::token_pressure`]) and picks.
//!
//! | policy | looks at | cost |
//! |---|---|---|
//! | [`PowerOfTwo`] | requests a slot and latency of two | constant |
//! | [`RoundRobin`] | nothing | constant |
//! | [`LeastRequests`] | requests a slot, of all or of a sample | bounded |
//! | [`LeastTokens`] | tokens a slot and room for keys and values, of all or of a sample | bounded |
//! | [`ConsistentHash`] | the key, then load up to a bound | a few steps around the ring |
//! | [`PrefixAware`] | whose prefix cache has seen the beginning of this prompt, then load | blocks of the prompt |
//!
//! A new policy is one file here, one line in [`from_config`] and the properties in `tests.rs`.

mod consistent_hash;
mod least;
mod least_requests;
mod least_tokens;
mod power_of_two;
mod prefix_aware;
mod prefix_index;
mod prompt_key;
mod round_robin;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use llmo_config::{GatewayConfig, HashOn};

use crate::replica::{Replica, Roster, Seat};

pub use consistent_hash::ConsistentHash;
pub use least_requests::LeastRequests;
pub use least_tokens::LeastTokens;
pub use power_of_two::PowerOfTwo;
pub use prefix_aware::PrefixAware;
pub use prefix_index::PrefixIndex;
pub use prompt_key::{BLOCK_BYTES, MAX_BLOCKS, PromptKey};
pub use round_robin::RoundRobin;

/// Requests a slot from which on a replica that would have to load the model first is worth a look.
const SPILL: f64 = 3.0;

/// Chooses a replica.
pub trait Policy: Send + Sync + std::fmt::Debug {
    /// The index of the chosen seat; `None` if every seat was tried already, or there is none. Looks at no seat but those
    /// of [`PickContext::view`].
    fn pick(&self, roster: &Roster, context: &PickContext<'_>, rng: &mut Rng) -> Option<usize>;

    /// Takes in that the request was sent to this seat.
    fn routed(&self, seat: &Seat, context: &PickContext<'_>) {
        let _ = (seat, context);
    }

    /// What of a request it wants to know.
    fn wants(&self) -> Wants {
        Wants::Nothing
    }

    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// Why it picks what it picks, in a word for people. One that has several reasons tells each time
    /// ([`PickContext::because`]).
    fn reason(&self) -> &'static str;
}

/// What of a request a policy looks at. Anything but `Nothing` costs a pass over the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wants {
    /// Nothing.
    Nothing,
    /// [`PickContext::key`], made from this.
    Key(HashOn),
    /// [`PickContext::blocks`].
    Blocks,
}

/// What a choice depends on besides the seats.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct PickContext<'a> {
    /// The time.
    pub now: Instant,
    /// Replicas that failed this request already. Usually empty, never long.
    pub tried: &'a [Arc<Replica>],
    /// Requests of one key belong together; `None`: it belongs to no other.
    pub key: Option<u64>,
    /// The prompt's beginning: a hash for each whole block, of the block and all before it.
    pub blocks: &'a [u64],
    /// Tokens that the request will need, as far as can be guessed.
    pub tokens: u64,
    /// Only so many seats are looked at, the first ones.
    pub among: usize,
    /// Where the reason of the choice goes, if anybody wants to know.
    pub why: Option<&'a Cell<&'static str>>,
}

impl<'a> PickContext<'a> {
    /// A first attempt of a request about which nothing is known.
    #[must_use]
    pub fn first(now: Instant) -> Self {
        Self { now, tried: &[], key: None, blocks: &[], tokens: 1, among: usize::MAX, why: None }
    }

    /// Not these.
    #[must_use]
    pub fn without(mut self, tried: &'a [Arc<Replica>]) -> Self {
        self.tried = tried;
        self
    }

    /// For this prompt.
    #[must_use]
    pub fn of(mut self, prompt: &'a PromptKey) -> Self {
        self.key = prompt.key;
        self.blocks = &prompt.blocks;
        self
    }

    /// Tells the reason of the choice here.
    #[must_use]
    pub fn telling(mut self, why: &'a Cell<&'static str>) -> Self {
        self.why = Some(why);
        self
    }

    /// Tells the reason of the choice, in a word.
    pub fn because(&self, reason: &'static str) {
        if let Some(why) = self.why {
            why.set(reason);
        }
    }

    /// May this seat be picked?
    #[must_use]
    pub fn open(&self, seat: &Seat) -> bool {
        !self.tried.iter().any(|tried| Arc::ptr_eq(tried, &seat.replica))
    }

    /// The seats to look at.
    #[must_use]
    pub fn view<'s>(&self, seats: &'s [Seat]) -> &'s [Seat] {
        &seats[..self.among.min(seats.len())]
    }
}

/// The policy's choice among those that have the model in memory, as long as they are not crowded; else among all.
#[must_use]
pub fn choose(policy: &dyn Policy, roster: &Roster, context: &PickContext<'_>, rng: &mut Rng) -> Option<usize> {
    let resident = roster.resident();
    if resident == 0 || resident == roster.len() {
        return policy.pick(roster, context, rng);
    }
    let near = policy.pick(roster, &PickContext { among: resident, ..*context }, rng);
    let crowded = |index: usize| roster[index].occupancy(context.now) > SPILL;
    match near {
        Some(index) if !crowded(index) => near,
        None => policy.pick(roster, context, rng),
        Some(index) => {
            let far = least::requests(&roster[resident..], context, rng).map(|far| far + resident);
            match far.filter(|far| !crowded(*far)) {
                Some(far) => {
                    context.because("who-has-it-in-memory-is-crowded");
                    Some(far)
                }
                None => Some(index),
            }
        }
    }
}

/// The policy that the configuration names.
#[must_use]
pub fn from_config(config: &GatewayConfig) -> Arc<dyn Policy> {
    match config.policy {
        llmo_config::Policy::RoundRobin => Arc::new(RoundRobin::default()),
        llmo_config::Policy::LeastRequests => Arc::new(LeastRequests),
        llmo_config::Policy::LeastTokens => Arc::new(LeastTokens),
        llmo_config::Policy::ConsistentHash => Arc::new(ConsistentHash::on(config.hash_on)),
        llmo_config::Policy::PrefixAware => Arc::new(PrefixAware::with_memory(config.prefix_index_bytes)),
        // Also for policies that a newer configuration knows and this gateway doesn't.
        _ => Arc::new(PowerOfTwo),
    }
}
