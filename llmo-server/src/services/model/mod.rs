//! The model service: models of this machine behind the HTTP front end.
//!
//! ```text
//! configuration ─► LocalModels ─► frontend::router + /internal/status ─► http::serve
//!                    │ one task loads them in turn: store ─► weights ─► engine
//!                    └ each is loading, ready, or failed with its reason
//! ```
//!
//! The service listens at once and is ready when its models are: a gateway sees why it has to wait.

#[cfg(unix)]
pub mod child;
mod engine;
mod error;
mod local_models;
mod name;
#[cfg(feature = "llama-cpp")]
mod prefix_store;
mod run;
mod state;
mod status;

pub use error::ServiceError;
pub use local_models::LocalModels;
pub use run::run;
pub use status::status_route;
