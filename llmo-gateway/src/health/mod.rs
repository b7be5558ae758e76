//! Active health checks: asking each replica how it is, again and again.
//!
//! * [`Probe`]: one question and its answer. [`HttpProbe`] asks over HTTP.
//! * `tripwire`: noticing a death between two questions.
//! * [`checker`]: the task that asks, and tells the [`Pool`](crate::replica::Pool).
//!
//! The passive side (requests that fail) goes straight to the pool; see [`Pool::lost`](crate::replica::Pool::lost).

pub mod checker;
mod probe;
mod report;
mod tripwire;

pub use checker::{CheckIntervals, check_forever};
pub use probe::{HttpProbe, Probe};
