//! The services that this crate's program can be, each a folder: wiring, routes, `run`.
//!
//! * [`model`]: runs models. * [`cache`]: keeps answers. * [`store`]: keeps weights.

pub mod cache;
pub mod model;
pub mod store;
