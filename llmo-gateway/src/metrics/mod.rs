//! What the gateway counts on top of what every front end does (requests by operation and model, HTTP requests).
//!
//! * [`RouterMetrics`], [`PoolMetrics`]: retries, and the state of every replica.
//! * [`AdmissionMetrics`]: who runs and who waits.
//! * [`CacheMetrics`]: what response caching saves.
//! * [`Traffic`]: three plain numbers for the dashboard, kept by [`Metered`] and [`MeteredModels`].

mod admission;
mod caching;
mod metered;
mod routing;
mod traffic;

pub use admission::AdmissionMetrics;
pub use caching::CacheMetrics;
pub use metered::{Metered, MeteredModels};
pub use routing::{PoolMetrics, RouterMetrics};
pub use traffic::Traffic;
