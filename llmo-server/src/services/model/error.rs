//! Why a service can't run at all.

use crate::http::BindError;
use crate::wiring::WiringError;

/// Why a service can't run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The port can't be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A part can't be made as the configuration says.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// Serving failed.
    #[error("the server failed: {0}")]
    Serve(#[from] std::io::Error),
}
