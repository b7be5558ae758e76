//! Replicas that announce themselves, at the dashboard's port of any gateway.
//!
//! ```text
//!  model service ── POST /registry/replicas, again and again ─► Registry (leases) ─► RegistryProvider ─► Sink
//!                └─ DELETE at its end                              │    ▲
//!                                                                  ▼    │ every second
//!                                                                Redis: shared with other gateways
//! ```
//!
//! A lease that is not renewed ends, and with it the replica; its last requests are finished. While Redis is away, what was
//! known stays, and what is announced here is known here.
//!
//! * [`Announcement`], [`Leases`]: pure. [`Registry`]: the leases of this gateway. [`routes()`]: the way in.
//! * [`SharedRegistry`]: the leases of all gateways, in Redis.

mod leases;
mod provider;
mod routes;
mod shared;

pub use leases::{Announcement, Leases};
pub use provider::{Registry, RegistryProvider};
pub use routes::routes;
pub use shared::SharedRegistry;
