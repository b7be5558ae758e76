//! Connections and everything that is the same for every HTTP service of llmo, whatever it serves.
//!
//! ```text
//!  bind ─► serve ─► accept ─► Connection ── hyper ──► layers: request id, faults, panics ─► the service's routes
//!            │                  │  Socket: cuts a reader that does not read; TLS; HeadGuard: refuses ambiguous heads
//!            │                  └─ Activity: deadlines of idle connections and of slow headers
//!            └─ Lifecycle: unready ► no more connections ► streams finish ► streams are ended
//! ```
//!
//! * [`bind()`]: a listening socket, or an error that names the way out.
//! * [`App`]: what is served: routes, and the few paths that go past them.
//! * [`serve`]: the accept loop, its limits ([`ServeOptions`]) and the drain ([`Lifecycle`]).
//! * [`shutdown_on_signal`]: what ends a service.
//! * [`body`]: request bodies with a bound in bytes and time; [`json`]: strict JSON with errors that name the place.
//! * [`tls`]: certificates, and what changes them while connections are open.
//! * [`layers`]: what every router is wrapped in; [`observe`] ([`request_id`], trace, [`access_log`]), [`panics`] and
//!   [`faults`] are its parts.

pub mod access_log;
mod activity;
pub mod app;
mod arrival;
pub mod bind;
pub mod body;
mod connection;
pub mod faults;
mod head_guard;
pub mod json;
pub mod layers;
mod lifecycle;
mod names;
pub mod observe;
mod options;
pub mod panics;
pub mod request_id;
mod serve;
mod signal;
mod socket;
pub mod tls;
mod transport;

pub use access_log::AccessRecord;
pub use app::{App, Direct};
pub use arrival::Arrival;
pub use bind::{BindError, bind};
pub use lifecycle::Lifecycle;
pub use options::ServeOptions;
pub use request_id::RequestId;
pub use serve::serve;
pub use signal::shutdown_on_signal;
