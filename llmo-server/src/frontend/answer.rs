//! From a translated call to a response: the path that chat and completions share.

use std::time::SystemTime;

use axum::response::Response;
use futures::future::try_join_all;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use llmo_core::model::{Delta, Event, Finish};
use llmo_core::{EventStream, GenerateRequest, Model, ModelError};

use super::context::Context;
use super::headers::with_origin;
use super::merge::Merged;
use super::state::Frontend;
use super::stream;
use crate::dialect::openai::{self, Reply, completions};
use crate::dialect::{Call, Head};
use crate::fault::Fault;
use crate::metrics::generation::{Measurement, Operation};

/// Runs a call and answers it, piece by piece or as a whole.
pub(super) async fn answer<R: Reply>(
    frontend: &Frontend,
    context: Context,
    call: Call,
    operation: Operation,
    reply: impl FnOnce(Head) -> R,
) -> Result<Response, Fault> {
    let (model, mut measurement) = frontend.resolve(&call.model, operation, &context).await?;
    let streams = match start(model.as_ref(), call.jobs, &context).await {
        Ok(streams) => streams,
        Err(fault) => return Err(failed(measurement, fault)),
    };
    let origin = streams.first().map(|stream| stream.origin.clone()).unwrap_or_default();
    let mut head = head(&context, model.as_ref());
    if let Some(answering) = &origin.model {
        head.model.clone_from(answering);
    }
    let mut reply = reply(head);
    if call.form.stream {
        let told = context.clone();
        let job = stream::Job { model, streams, reply, context, measurement, per_prompt: call.form.per_prompt };
        return Ok(with_origin(&told, &origin, stream::respond(job, &frontend.options)));
    }
    match context.in_time("while generating", collect(streams, &mut measurement)).await {
        Ok(choices) => {
            let choices = completions::best(choices, call.form);
            measurement.finished(openai::total(choices.iter().map(|(_, finish)| finish), call.form.per_prompt));
            let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            Ok(with_origin(&context, &origin, (json, reply.whole(&choices))))
        }
        Err(fault) => Err(failed(measurement, fault)),
    }
}

/// Starts all generations; if one is refused, the others are dropped.
pub(super) async fn start(
    model: &dyn Model,
    jobs: Vec<GenerateRequest>,
    context: &Context,
) -> Result<Vec<EventStream>, Fault> {
    let start = |mut job| {
        context.apply(&mut job);
        model.generate(job)
    };
    let stage = "before the first token";
    match <[GenerateRequest; 1]>::try_from(jobs) {
        Ok([job]) => Ok(vec![context.in_time(stage, start(job)).await?]),
        Err(jobs) => context.in_time(stage, try_join_all(jobs.into_iter().map(start))).await,
    }
}

/// Reads all generations to their ends, side by side.
pub(super) async fn collect(
    streams: Vec<EventStream>,
    measurement: &mut Measurement,
) -> Result<Vec<(Delta, Finish)>, ModelError> {
    let mut merged = Merged::new(streams);
    let mut texts = vec![Delta::default(); merged.len()];
    while let Some((choice, event)) = merged.next().await {
        match event? {
            Event::Delta(delta) => {
                measurement.piece(choice);
                texts[choice].append(delta);
            }
            Event::Finish(finish) => measurement.choice_finished(&finish),
            _ => {}
        }
    }
    Ok(texts.into_iter().zip(merged.into_finishes()?).collect())
}

/// Ends a measurement with a fault.
pub(super) fn failed(measurement: Measurement, fault: Fault) -> Fault {
    measurement.failed(&fault);
    fault
}

/// What the answer says of itself.
pub(super) fn head(context: &Context, model: &dyn Model) -> Head {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Head::new(context.request_id.as_str(), now, model.info())
}
