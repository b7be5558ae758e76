//! Upstream replicas: who they are, how they do, and the snapshot that routing decisions read.
//!
//! ```text
//!   health checks ─┐                       ┌─► Route (model → seats) ─► policy ─► Seat
//!   request fates ─┴─► Pool ── swaps ─► Snapshot
//!                        │                 └─► dashboard
//!                        └─► EventLog (what changed lately)
//! ```
//!
//! * [`Replica`]: identity and live counters, shared by all snapshots.
//! * [`Health`]: a pure state machine, from probe results and request fates to "may it be used".
//! * [`Outlier`], [`Waits`]: who fails again and again, or is far slower than others, is left out for a while.
//! * [`Lease`]: a request's place at a replica; [`TokenLoad`]: the work that waits there.
//! * [`Roster`]: the seats of one model as policies see them; [`Ring`]: the same on a circle of hashes.
//! * [`Snapshot`]: everything that changes seldom, copied when it changes, read without a lock.
//! * [`Pool`]: the one writer of snapshots. Replicas come ([`Pool::add`]), retire and go at any time.

mod access;
mod counters;
mod events;
mod health;
mod latency;
mod lease;
mod names;
mod outlier;
mod pool;
mod ring;
mod roster;
mod route;
mod slowness;
mod snapshot;
mod tokens;

pub use access::Access;
pub use counters::Replica;
pub use events::{EventLog, PoolEvent};
pub use health::{Health, Phase, ProbeOutcome, Reported};
pub use latency::Latency;
pub use lease::{Claim, Lease, Tally};
pub use names::ModelNames;
pub use outlier::{Outlier, OutlierOptions};
pub use pool::{Connect, Member, Pool};
pub use ring::Ring;
pub use roster::Roster;
pub use route::{Route, Seat, Served, WARM_UP};
pub use slowness::{SlowOptions, Typical, Waits, is_slow};
pub use snapshot::{ReplicaState, Snapshot};
pub use tokens::TokenLoad;
