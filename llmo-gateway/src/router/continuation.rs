//! Going on with a broken stream on another replica.

use std::sync::Arc;
use std::time::{Duration, Instant};

use llmo_core::model::{GenerateRequest, ModelError, Result};

use super::Dispatcher;
use super::errand::{Errand, Purpose};
use super::stream::Started;
use crate::replica::{Lease, Replica, Served};

/// Between two looks for a replica.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What is needed to go on.
pub(super) struct Continuation {
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) model: Arc<str>,
    /// The request, with the tokens that the caller has as its `output_prefix`.
    pub(super) request: GenerateRequest,
    /// The replica that broke: asked only if no other goes on.
    pub(super) broken: Arc<Replica>,
    /// The error that broke it: what the caller hears if nobody can go on.
    pub(super) cause: ModelError,
}

impl Continuation {
    /// Looks for a replica that goes on, for as long as the options and the deadline allow: the only replica may be
    /// back in seconds.
    pub(super) async fn run(self) -> Result<(Started, Lease)> {
        let Self { dispatcher, model, request, broken, cause } = self;
        let request = &request;
        let call =
            |served: Arc<Served>| async move { Started::wait(served.client.generate(request.clone()).await?).await };
        let give_up = Instant::now() + dispatcher.options().continuation_timeout;
        let mut avoided = Some(Arc::clone(&broken));
        loop {
            let mut errand = Errand::generation(&model, request, dispatcher.policy());
            errand.purpose = Purpose::Continue(avoided.take());
            match dispatcher.dispatch(errand, call).await {
                Ok(started) => {
                    tracing::info!(
                        model = &*model,
                        from = broken.id(),
                        to = started.1.replica().id(),
                        request_id = request.request_id,
                        tokens = request.output_prefix.len(),
                        "stream continued"
                    );
                    return Ok(started);
                }
                Err(error @ ModelError::DeadlineExceeded { .. }) => return Err(error),
                Err(error) if error.is_retryable() && Instant::now() + LOOK_AGAIN < give_up => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(error) => {
                    tracing::warn!(model = &*model, request_id = request.request_id, %error, "stream not continued");
                    return Err(cause);
                }
            }
        }
    }
}
