//! Where weights live and where they come from.
//!
//! * **Stores**: [`local`] (a directory), `object` (S3 and every other store of the crate `object_store`; feature
//!   `object-store` or `s3`), [`remote`] (llmo's storage service). All are a [`Store`](llmo_core::Store).
//! * **Models**: the [`catalogue`] of models known by name, [`pull`] that gets them, and the [`models`] that are
//!   installed, each with its [`manifest`].
//!
//! ```text
//!   hub ─┐                                         ┌─► show, verify, remove
//!   pip ─┼─► pull ─► sha256 ─► headers ─► Store ─► ModelLibrary ─► LocalModel ─► engine
//! store ─┘   ▲                                     (manifest.json)
//!        catalogue
//! ```

pub mod catalogue;
mod digest;
mod error;
mod header;
pub mod local;
pub mod manifest;
pub mod models;
#[cfg(feature = "object-store")]
pub mod object;
#[cfg(feature = "remote")]
pub mod protocol;
#[cfg(feature = "pull")]
pub mod pull;
mod range;
#[cfg(feature = "remote")]
pub mod remote;
mod stream_end;
pub mod variant;

pub use digest::file_sha256;
pub use error::{Attempt, ModelsError};
pub use header::WeightsFacts;
