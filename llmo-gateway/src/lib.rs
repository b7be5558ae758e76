//! llmo's gateway: what clients talk to.
//!
//! ```text
//!  HTTP front end (llmo-server) ─► layers (cache, coalesce, limit) ─► router ─► replica 1…n
//!                                                                       ▲
//!                                        policy ── snapshot ── pool ◄── health checks
//! ```
//!
//! * [`replica`]: the upstreams, their health, and the snapshot that decisions read.
//! * [`policy`]: how one of them is chosen.
//! * [`router`]: a model's name becomes an answer; what has not started is tried again elsewhere.
//! * [`health`]: asking upstreams how they are.
//! * [`metrics`]: what Prometheus is told.

pub mod health;
pub mod metrics;
pub mod policy;
pub mod replica;
pub mod router;
#[cfg(test)]
mod test_models;
