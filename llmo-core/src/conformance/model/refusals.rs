//! Invalid requests: refused by name, before anything is generated.

use std::time::Instant;

use futures::StreamExt;

use super::Subject;
use crate::conformance::wait::{in_time, refused};
use crate::model::request::{MAX_STOPS, MAX_TOP_LOGPROBS};
use crate::model::{GenerateRequest, ModelError, Prompt};

pub(super) async fn check(subject: &Subject) {
    invalid_parameters_are_refused_by_name(subject).await;
    a_request_whose_deadline_has_passed_is_not_started(subject).await;
}

async fn invalid_parameters_are_refused_by_name(subject: &Subject) {
    let rule = "an invalid parameter is refused by name";
    for (param, damage) in invalid_parameters() {
        let mut request = subject.request();
        damage(&mut request);
        let result = in_time(rule, subject.options.patience, subject.model.generate(request)).await;
        match refused(&format!("{rule}: {param}"), result) {
            ModelError::InvalidRequest { param: named, .. } => assert_eq!(named, param, "{rule}"),
            other => panic!("{rule}: {param} gave {other:?}"),
        }
    }
    subject.still_works("refused requests").await;
    subject.idle("refused requests hold no slot").await;
}

type Damage = fn(&mut GenerateRequest);

fn invalid_parameters() -> Vec<(&'static str, Damage)> {
    vec![
        ("temperature", |r| r.sampling.temperature = f32::NAN),
        ("temperature", |r| r.sampling.temperature = -0.5),
        ("temperature", |r| r.sampling.temperature = f32::INFINITY),
        ("top_p", |r| r.sampling.top_p = 0.0),
        ("top_p", |r| r.sampling.top_p = 1.5),
        ("min_p", |r| r.sampling.min_p = -0.1),
        ("typical_p", |r| r.sampling.typical_p = 0.0),
        ("repetition_penalty", |r| r.sampling.repetition_penalty = 0.0),
        ("frequency_penalty", |r| r.sampling.frequency_penalty = 3.0),
        ("presence_penalty", |r| r.sampling.presence_penalty = f32::NEG_INFINITY),
        ("logit_bias", |r| r.sampling.logit_bias = vec![(0, f32::NAN)]),
        ("max_tokens", |r| r.max_tokens = Some(0)),
        ("stop", |r| r.stop = vec![String::new()]),
        ("stop", |r| r.stop = vec!["x".into(); MAX_STOPS + 1]),
        ("top_logprobs", |r| r.logprobs = Some(MAX_TOP_LOGPROBS + 1)),
        ("messages", |r| r.prompt = Prompt::Chat(Vec::new())),
        ("prompt", |r| r.prompt = Prompt::Tokens(Vec::new())),
    ]
}

async fn a_request_whose_deadline_has_passed_is_not_started(subject: &Subject) {
    let rule = "a request whose deadline has passed is not started";
    let mut request = subject.request();
    request.deadline = Some(Instant::now());
    let patience = subject.options.patience;
    let error = match in_time(rule, patience, subject.model.generate(request)).await {
        Err(error) => error,
        Ok(mut stream) => match in_time(rule, patience, stream.next()).await {
            Some(Err(error)) => error,
            other => panic!("{rule}: {other:?}"),
        },
    };
    assert!(matches!(error, ModelError::DeadlineExceeded { .. }), "{rule}: {error:?}");
    subject.idle("a request that came too late holds no slot").await;
}
