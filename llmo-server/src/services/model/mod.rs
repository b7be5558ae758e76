//! The model service: models of this machine behind the HTTP front end.
//!
//! ```text
//! configuration ─► LocalModels ─► frontend::router + /internal/status + /admin ─► http::serve
//!                    │ resolve
//!                    ▼
//!                  Handle ─► Shelf ─► Entry: absent, loading (one load for all who ask), ready
//!                              │ load: Loader (store ─► stamps ─► header ─► terms ─► engine)
//!                              │ room: budget (who has to go)
//!                              └ janitor (whose time is over)
//! ```
//!
//! * Named in the configuration: loaded at the start, *pinned*. Everything else that is installed comes when it is asked
//!   for, and goes after its keep-alive, or when others need its place.
//! * `announce`: telling gateways that this service is there, and when it goes.
//! * `adapters`: LoRA, each a model of its own.
//!
//! The service listens at once and is ready when its models are: a gateway sees why it has to wait.

mod adapters;
mod admin;
mod announce;
mod budget;
#[cfg(unix)]
pub mod child;
mod engine;
mod entry;
mod error;
mod handle;
mod header;
mod installed;
mod int8;
mod loader;
mod local_models;
mod memory;
mod metrics;
mod name;
#[cfg(feature = "llama-cpp")]
mod prefix_store;
mod pull;
mod run;
mod shelf;
mod stamps;
mod status;
mod terms;
#[cfg(feature = "llama-cpp")]
mod tuning;

pub use admin::admin_routes;
pub use announce::Announcer;
pub use error::ServiceError;
pub use int8::native_child;
pub use local_models::LocalModels;
pub use run::run;
pub use status::status_route;

#[cfg(test)]
mod tests;
#[cfg(feature = "llama-cpp")]
pub use tuning::Tunable;
