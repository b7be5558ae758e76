//! The extractor for JSON bodies.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;

use super::state::Frontend;
use crate::fault::Fault;
use crate::http::body;

/// A JSON body: read whole, its type checked, not parsed yet.
pub(super) struct Json(pub(super) Bytes);

impl FromRequest<Arc<Frontend>> for Json {
    type Rejection = Fault;

    async fn from_request(request: Request, frontend: &Arc<Frontend>) -> Result<Self, Fault> {
        body::read_json(request, frontend.options.body).await.map(Self)
    }
}
