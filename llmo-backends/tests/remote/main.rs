//! The remote model against upstreams that are good, broken, slow and strange, all on loopback.
#![cfg(feature = "remote")]

mod errors;
mod golden;
mod streams;
mod upstream;
mod whole;
