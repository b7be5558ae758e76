//! Layers: each wraps a [`Model`](crate::Model) and is a model again.
//!
//! * [`Limit`]: so many generations at once, so many waiting, the others refused at once.
//! * [`Coalesce`]: identical requests at the same time share one generation.
//! * [`Observe`]: tells an observer when a generation starts, gives its first text, and ends.
//!
//! Response caches, retries and routing are layers too and live in `llmo-cache` and `llmo-gateway`.

mod coalesce;
mod limit;
mod observe;

pub use coalesce::{Coalesce, CoalesceOptions};
pub use limit::{Limit, LimitOptions};
pub use observe::{Observation, Observe, Observer};
