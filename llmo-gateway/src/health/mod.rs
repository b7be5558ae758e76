//! Active health checks: asking each replica how it is, again and again.
//!
//! * [`Probe`]: one question and its answer. [`HttpProbe`] asks over HTTP.
//! * `tripwire`: noticing a death between two questions.
//! * [`check_members`]: a task for each replica, as they come and go.
//! * [`checker`]: the task that asks, and tells the [`Pool`](crate::replica::Pool).
//!
//! The passive side (requests that fail) goes straight to the pool; see [`Pool::lost`](crate::replica::Pool::lost).

pub mod checker;
mod members;
mod probe;
mod report;
mod tripwire;

pub use checker::{CheckIntervals, check_forever};
pub use members::{MakeProbe, check_members};
pub use probe::{HttpProbe, Probe};
