//! Answers piece by piece, as server-sent events.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use llmo_core::model::{Event, Finish};
use llmo_core::trace::{self, scoped};
use llmo_core::{EventStream, Model, ModelError};
use tokio::time::{Instant, sleep_until};

use super::FrontendOptions;
use super::context::Context;
use super::handover;
use super::merge::Merged;
use super::outlet::{self, Closed, Outlet};
use crate::dialect::{Reply, openai};
use crate::fault::Fault;
use crate::http::panics;
use crate::metrics::generation::Measurement;

/// nginx and its kin buffer responses unless told not to.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Generations that have been accepted, and what is needed to tell of them.
pub(super) struct Job<R> {
    pub(super) model: Arc<dyn Model>,
    pub(super) streams: Vec<EventStream>,
    pub(super) reply: R,
    pub(super) context: Context,
    pub(super) measurement: Measurement,
    /// Choices of each prompt.
    pub(super) per_prompt: usize,
}

/// Answers with the events of a job. When the reader leaves or does not read, the generations end.
pub(super) fn respond<R: Reply>(job: Job<R>, options: &FrontendOptions) -> Response {
    let (media_type, work, heartbeat) = (job.reply.media_type(), trace::current(), options.heartbeat);
    let body = if job.context.multiplexed {
        let (queue, body) = outlet::queue(options.stream_buffer_bytes, options.stall_timeout);
        tokio::spawn(scoped(work, run(job, Outlet::Queue(queue), heartbeat)));
        body
    } else {
        handover::body(|hand| scoped(work, run(job, Outlet::Hand(hand), heartbeat)))
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (NO_BUFFERING, HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}

/// How a stream ended before its end.
enum Cut {
    Failed(Fault),
    Reader(Closed),
}

impl From<Closed> for Cut {
    fn from(closed: Closed) -> Self {
        Self::Reader(closed)
    }
}

async fn run<R: Reply>(job: Job<R>, outlet: Outlet, heartbeat: Duration) {
    // The model is kept as long as its streams.
    let Job { model: _model, streams, mut reply, context, mut measurement, per_prompt } = job;
    let writing = write(Merged::new(streams), &mut reply, &context, &mut measurement, &outlet, heartbeat);
    let result = AssertUnwindSafe(writing).catch_unwind().await.unwrap_or_else(|panic| {
        tracing::error!(panic = panics::text(panic.as_ref()), "a stream panicked");
        Err(Cut::Failed(Fault::Panic))
    });
    let ended = match result {
        Ok(finishes) => {
            measurement.finished(openai::total(&finishes, per_prompt));
            outlet.end().await
        }
        Err(Cut::Failed(fault)) => {
            fault.log_details(context.request_id.as_str());
            measurement.failed(&fault);
            match outlet.write(reply.failure(&fault)).await {
                Ok(()) => outlet.end().await,
                closed => closed,
            }
        }
        Err(Cut::Reader(closed)) => Err(closed),
    };
    if let Err(closed) = ended {
        tracing::debug!(request_id = context.request_id.as_str(), ?closed, "a stream lost its reader");
    }
}

/// Writes all events up to the end of the stream; returns the finishes.
async fn write<R: Reply>(
    mut merged: Merged,
    reply: &mut R,
    context: &Context,
    measurement: &mut Measurement,
    outlet: &Outlet,
    heartbeat: Duration,
) -> Result<Vec<Finish>, Cut> {
    for choice in 0..merged.len() {
        if let Some(event) = reply.open(choice) {
            outlet.write(event).await?;
        }
    }
    // Made once, and looked at only while there is no event: each is work for the timer or for a lock.
    let mut left = pin!(outlet.left());
    let mut closing = pin!(context.lifecycle.closing());
    let mut deadline = pin!(sleep_until(context.net().into()));
    let mut written = Instant::now();
    let mut beat = pin!(sleep_until(written + heartbeat));
    let shutdown = || Cut::Failed(ModelError::Shutdown.into());
    let too_late = || {
        let stage = "while generating".to_owned();
        Cut::Failed(ModelError::DeadlineExceeded { stage }.into())
    };
    loop {
        let next = tokio::select! {
            biased;
            next = merged.next() => next,
            () = &mut left => return Err(Closed::Left.into()),
            () = &mut closing => return Err(shutdown()),
            () = &mut deadline => return Err(too_late()),
            () = &mut beat => {
                // Pieces that were written since it was set have put it off.
                if written + heartbeat <= Instant::now() {
                    if let Some(beat) = reply.heartbeat() {
                        outlet.write(beat).await?;
                    }
                    written = Instant::now();
                }
                beat.as_mut().reset(written + heartbeat);
                continue;
            }
        };
        // Events may come faster than anything else gets its turn.
        if context.lifecycle.is_closing() {
            return Err(shutdown());
        }
        let event = match next {
            None => break,
            Some((_, Err(error))) => return Err(Cut::Failed(error.into())),
            Some((choice, Ok(Event::Delta(delta)))) => {
                measurement.piece(choice);
                reply.piece(choice, &delta)
            }
            Some((choice, Ok(Event::Finish(finish)))) => {
                measurement.choice_finished(&finish);
                Some(reply.finish(choice, &finish))
            }
            Some((_, Ok(_))) => None,
        };
        if let Some(event) = event {
            outlet.write(event).await?;
            written = Instant::now();
            if written >= deadline.deadline() {
                return Err(too_late());
            }
        }
    }
    let finishes = merged.into_finishes().map_err(|error| Cut::Failed(error.into()))?;
    for event in reply.close(&finishes) {
        outlet.write(event).await?;
    }
    Ok(finishes)
}
