//! The dashboard and admin plane, on a port of its own, bound to this machine unless configured
//! otherwise.
//!
//! * `/`: a page for people. Its script and style come from here too; nothing is loaded from elsewhere.
//! * `/api/overview`, `/api/replicas`: the same facts as JSON.
//! * `/api/routes`, `/api/providers`: the rules that hold, and where they and the replicas come from.
//! * `/api/traefik`: the gateways in the format of Traefik's HTTP provider.
//! * `/registry/replicas`: where model services announce themselves, if `discovery.registry` is on.
//! * `POST /admin/reload`: reads files of configuration, keys and certificates at once (`reload.rs`).
//! * `/metrics`, `/livez`, `/readyz`: for machines.
//!
//! [`overview`] turns the gateway's state into plain data; `routes.rs` serves it.

pub mod overview;
mod reload;
mod routes;
pub mod traefik;

pub use overview::{Address, Overview, Sources};
pub use routes::router;
