//! Where weights live.
mod digest;
pub mod local;
mod range;
