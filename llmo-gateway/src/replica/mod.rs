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
//! * [`Snapshot`]: everything that changes seldom, copied when it changes, read without a lock.
//! * [`Pool`]: the one writer of snapshots.

mod counters;
mod events;
mod health;
mod latency;
mod outlier;
mod pool;
mod route;
mod snapshot;

pub use counters::{Lease, Replica};
pub use events::{EventLog, PoolEvent};
pub use health::{Health, Phase, ProbeOutcome, Reported};
pub use latency::Latency;
pub use outlier::{Outlier, OutlierOptions};
pub use pool::{Connect, Pool};
pub use route::{Route, Seat, Served, WARM_UP};
pub use snapshot::{ReplicaState, Snapshot};
