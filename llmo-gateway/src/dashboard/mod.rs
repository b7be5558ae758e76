//! The dashboard and admin plane, on a port of its own: read-only, and bound to this machine unless configured
//! otherwise.
//!
//! * `/`: a page for people. Its script and style come from here too; nothing is loaded from elsewhere.
//! * `/api/overview`, `/api/replicas`: the same facts as JSON.
//! * `/metrics`, `/livez`, `/readyz`: for machines.
//!
//! [`overview`] turns the gateway's state into plain data; `routes.rs` serves it.

pub mod overview;
mod routes;

pub use overview::{Overview, Sources};
pub use routes::router;
