//! What every [`Model`](crate::Model), [`Cache`](crate::Cache) and [`Store`](crate::Store) must do, as test suites.
//!
//! An implementation's tests call `check` with a fresh subject; a broken rule panics and says which one. The suites need
//! a tokio runtime with time enabled. They wait for conditions, each wait has a bound, and nothing sleeps for luck.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # async fn example(my_model: Arc<dyn llmo_core::Model>) {
//! use llmo_core::conformance::model::{ModelSuite, check};
//!
//! check(my_model, ModelSuite::default()).await;
//! # }
//! ```

pub mod cache;
pub mod model;
pub mod store;
mod wait;
