//! The prefix cache: which sequence already holds the beginning of a prompt, and what to do about it.
//!
//! ```text
//!             prompt ─► RadixIndex ─► per slot: how much of it (Rounding cuts that) ─► plan
//!                                                                                      │
//!   read on in the same slot ◄─ copy it from another slot ◄─ wait for the slot that reads it now, then copy ◄─┘
//! ```
//!
//! * [`radix`]: sequences by their tokens, apart for each tenant and adapter ([`salt`]).
//! * [`rounding`]: how much may be reused so that greedy output is that of a cold run, token by token.
//! * [`worth`]: how likely what a free slot holds is used again; what is worth least is overwritten first.
//! * [`placement`]: the decision, a pure function of all that.
//! * [`archive`]: beginnings that came again are kept in a store, and come back after a restart.

pub(in super::super) mod archive;
pub(super) mod placement;
pub(super) mod radix;
pub(super) mod rounding;
pub(super) mod salt;
pub(super) mod worth;

pub(in super::super) use archive::Archive;
pub(super) use placement::{Candidate, Costs, Plan, Source, plan};
pub(super) use radix::RadixIndex;
pub(in super::super) use rounding::Rounding;
pub(super) use salt::Salt;
pub(super) use worth::Worth;
