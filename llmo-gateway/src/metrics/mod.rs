//! What the gateway counts on top of what every front end does (requests by operation and model, HTTP requests).
//!
//! * [`RouterMetrics`], [`PoolMetrics`]: retries, and the state of every replica.
//! * [`CacheMetrics`]: what response caching saves.
//! * [`Traffic`]: three plain numbers for the dashboard, kept by [`Metered`] and [`MeteredModels`].

mod caching;
mod metered;
mod routing;
mod traffic;

pub use caching::CacheMetrics;
pub use metered::{Metered, MeteredModels};
pub use routing::{PoolMetrics, RouterMetrics};
pub use traffic::Traffic;
