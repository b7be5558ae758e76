//! The remote model against upstreams that are good, broken, slow and strange, all on loopback.
#![cfg(feature = "remote")]
// A failed unwrap is a failed test, in the upstream as well.
#![allow(clippy::unwrap_used)]

mod errors;
mod golden;
mod streams;
mod upstream;
mod whole;
