//! `/v1/responses`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::answer::answer;
use super::body::Json;
use super::context::Context;
use super::state::Frontend;
use crate::dialect::openai::responses::{self, ResponseReply};
use crate::fault::Fault;
use crate::metrics::generation::Operation;

pub(super) async fn create(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<Response, Fault> {
    let responses::ResponseCall { call, echo } = responses::parse(&body)?;
    let form = call.form;
    let reply = |head| ResponseReply::new(head, form, echo);
    let answered = answer(&frontend, context, call, Operation::Chat, reply).await;
    answered.map_err(|fault| fault.spelled(&responses::NAMES))
}
