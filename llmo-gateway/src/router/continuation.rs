//! Going on with a broken stream on another replica.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use llmo_core::model::{GenerateRequest, ModelError, ModelInfo, Result};
use parking_lot::Mutex;

use super::Dispatcher;
use super::errand::{Errand, Purpose};
use super::poison::Suspicion;
use super::stream::Started;
use crate::replica::{Lease, Replica, Served, Snapshot};

/// Between two looks for a replica, as long as there is none that could be asked.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The same between attempts that failed, at most: it doubles.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

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

/// Who is asked: more and more of those that have the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Circle {
    /// Other replicas that compute as the broken one did: their tokens are those that it would have written.
    Alike,
    /// Any other replica.
    Others,
    /// The broken one too.
    All,
}

impl Circle {
    fn wider(self) -> Self {
        match self {
            Self::Alike => Self::Others,
            Self::Others | Self::All => Self::All,
        }
    }

    /// The replicas with a seat that are left out, and whether any is left in.
    fn without(
        self,
        snapshot: &Snapshot,
        model: &str,
        broken: &Arc<Replica>,
        unable: &[Arc<Served>],
    ) -> (Vec<Arc<Replica>>, bool) {
        let known = snapshot.replicas.iter().find(|state| Arc::ptr_eq(&state.replica, broken));
        let info = known.and_then(|state| state.served.iter().find(|served| served.info.id == model));
        let Some(route) = snapshot.route(model) else { return (Vec::new(), false) };
        let mut out = Vec::new();
        for (seat, served) in route.seats.iter().zip(&route.served) {
            let is_broken = Arc::ptr_eq(&seat.replica, broken);
            let leave_out = unable.iter().any(|unable| Arc::ptr_eq(unable, served))
                || match self {
                    Self::Alike => is_broken || info.is_some_and(|info| !alike(&info.info, &served.info)),
                    Self::Others => is_broken,
                    Self::All => false,
                };
            if leave_out {
                out.push(Arc::clone(&seat.replica));
            }
        }
        let any = out.len() < route.seats.len();
        (out, any)
    }
}

/// Do both compute the same numbers, as far as they tell?
fn alike(a: &ModelInfo, b: &ModelInfo) -> bool {
    (&a.backend, &a.digest, &a.quantisation) == (&b.backend, &b.digest, &b.quantisation)
}

impl Continuation {
    /// Looks for a replica that goes on, for as long as the options and the deadline allow: the only replica may be
    /// back in seconds.
    ///
    /// The first attempt is free, since a death breaks many streams at once. Each further one is taken from the retry
    /// budget, and waits longer: where everybody is busy, continuations must not make them busier.
    pub(super) async fn run(self) -> Result<(Started, Lease)> {
        let Self { dispatcher, model, request, broken, cause } = self;
        let (request, poison) = (&request, &dispatcher.poison);
        let (suspicion, attempts) = (&Suspicion::after(&cause), &AtomicU32::new(0));
        // Those that can't go on behind tokens, whatever they serve otherwise.
        let unable = &Mutex::new(Vec::new());
        let call = |served: Arc<Served>| async move {
            let attempt = async { Started::wait(served.client.generate_borrowed(request).await?).await };
            let answer = poison.attempt(suspicion, attempt).await;
            match answer {
                // That was no work for anybody, and each says it once.
                Err(ModelError::Unsupported { .. }) => unable.lock().push(served),
                _ => drop(attempts.fetch_add(1, Ordering::Relaxed)),
            }
            answer
        };
        let give_up = Instant::now() + dispatcher.options().continuation_timeout;
        let (mut circle, mut pause) = (Circle::Alike, LOOK_AGAIN);
        loop {
            let before = unable.lock().len();
            let (avoided, any) = circle.without(&dispatcher.pool().snapshot(), &model, &broken, &unable.lock());
            if !any && circle != Circle::All {
                circle = circle.wider();
                continue;
            }
            let is_first = attempts.load(Ordering::Relaxed) == 0;
            let outcome = if any && (is_first || dispatcher.budget.withdraw(Instant::now())) {
                let mut errand = Errand::generation(&model, request, dispatcher.policy());
                errand.purpose = Purpose::Continue(avoided);
                dispatcher.dispatch(errand, call).await
            } else {
                Err(dispatcher.nobody(&model))
            };
            match outcome {
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
                Err(error @ (ModelError::DeadlineExceeded { .. } | ModelError::Crashed { .. })) => {
                    poison.learn(&model, request, &error, Instant::now());
                    return Err(error);
                }
                // It will be left out from now on.
                Err(ModelError::Unsupported { .. }) if unable.lock().len() > before => {}
                Err(error) if error.is_retryable() && Instant::now() + pause < give_up => {
                    circle = circle.wider();
                    tokio::time::sleep(pause.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
                    if attempts.load(Ordering::Relaxed) > 0 {
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
                Err(error) => {
                    tracing::warn!(model = &*model, request_id = request.request_id, %error, "stream not continued");
                    return Err(cause);
                }
            }
        }
    }
}
