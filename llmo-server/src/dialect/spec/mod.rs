//! The plain `/api` dialect of the specification: one prompt in, one text out.
//!
//! * [`generate`]: `/api/generate`. [`health`]: `/api/health`. [`error`]: error bodies.

pub mod error;
pub mod generate;
pub mod health;
