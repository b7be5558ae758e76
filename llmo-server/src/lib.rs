//! llmo's HTTP dialects, and the model, cache and storage services.
//!
//! ```text
//!  http      connections, limits, drain, request ids           the same for every service
//!  dialect   OpenAI, /api  ⇄  llmo-core                        pure translations
//!  frontend  routes over any `Models`: router(models, …)       the gateway mounts the same
//!  metrics   what a process counts; telemetry: its logs
//!  services  model, cache, store: wiring and `run`             thin
//! ```
//!
//! [`fault::Fault`] is why a request is not answered with what was asked for; it gets its body in one place.

pub mod allocator;
pub mod dialect;
pub mod fault;
pub mod frontend;
pub mod http;
pub mod metrics;
pub mod port_holder;
pub mod services;
pub mod telemetry;
pub mod wiring;
