//! llmo's gateway: what clients talk to.
//!
//! ```text
//!  HTTP front end (llmo-server) ─► layers (cache, coalesce, limit) ─► router ─► replica 1…n
//!                                                                       ▲
//!  dashboard                             policy ── snapshot ── pool ◄── health checks
//! ```
//!
//! * [`replica`]: the upstreams, their health, and the snapshot that decisions read.
//! * [`policy`]: how one of them is chosen.
//! * [`router`]: a model's name becomes an answer; what has not started is tried again elsewhere.
//! * [`routing`]: rules that say which model a name, a path, a tenant or a header means, and what answers in its place.
//! * [`health`]: asking upstreams how they are. [`upstream`], [`upstream_url`]: talking to them.
//! * [`admission`]: who may begin, who waits, who is refused: limits, queue and fairness.
//! * [`provider`]: where replicas and rules come from while the gateway runs (files, DNS, Docker, …).
//! * [`keys`]: who may ask at all.
//! * [`layers`], [`layered`]: cache, coalescing and limits around every model.
//! * [`dashboard`], [`metrics`]: what people and Prometheus see.
//! * [`usage`]: who used how many tokens, written down.
//! * [`tls`]: certificates from files or from an authority.
//! * [`local`]: models of this process as a replica. [`pulling`]: fetching more of them.
//! * [`Gateway`]: all of it together; [`run`]: as a process.

pub mod admission;
pub mod dashboard;
mod error;
mod gateway;
pub mod health;
pub mod keys;
pub mod layered;
pub mod layers;
pub mod local;
pub mod metrics;
pub mod policy;
pub mod provider;
pub mod pulling;
pub mod replica;
pub mod router;
pub mod routing;
mod serve;
#[cfg(test)]
mod test_models;
pub mod tls;
pub mod upstream;
pub mod upstream_url;
pub mod usage;

pub use error::GatewayError;
pub use gateway::Gateway;
pub use serve::{Listeners, run, run_reloading};
