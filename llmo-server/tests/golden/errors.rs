//! Every fault in every dialect.

use std::fmt::Write;
use std::time::Duration;

use llmo_core::ModelError;
use llmo_server::dialect::Dialect;
use llmo_server::fault::Fault;

use super::{dir, expect};

fn faults() -> Vec<Fault> {
    let wait = Duration::from_secs(2);
    let model = || "smollm2-135m".to_owned();
    vec![
        Fault::invalid("temperature", "must be between 0 and 2, got 3"),
        ModelError::ContextOverflow { prompt_tokens: 9000, max_tokens: 40, context_length: 8192 }.into(),
        ModelError::NotFound { model: "smolm2".into(), suggestion: Some(model()) }.into(),
        ModelError::Unsupported { model: model(), what: "embeddings".into() }.into(),
        ModelError::Overloaded { reason: "64 requests are waiting".into(), retry_after: wait }.into(),
        ModelError::Unavailable { reason: "no replica is ready".into(), retry_after: wait }.into(),
        ModelError::DeadlineExceeded { stage: "in the queue".into() }.into(),
        ModelError::Shutdown.into(),
        ModelError::Corrupt { model: model(), reason: "sha256 differs".into() }.into(),
        ModelError::NoSpace { what: "receiving model.gguf".into() }.into(),
        ModelError::Upstream { message: "connection reset".into(), started: true }.into(),
        ModelError::Internal("secret detail".into()).into(),
        Fault::Body { param: Some("seed".into()), message: "seed: wrong type".into() },
        Fault::unsupported("tools", "tools are not supported yet"),
        Fault::TooLarge { limit: 8 << 20 },
        Fault::MediaType("content-type must be application/json".into()),
        Fault::SlowBody(Duration::from_secs(30)),
        Fault::BrokenBody,
        Fault::NoKey,
        Fault::UnknownPath { path: "/v2".into() },
        Fault::MethodNotAllowed { method: "PUT".into() },
        Fault::NotImplemented("models are not removed over the API".into()),
        Fault::Panic,
    ]
}

#[test]
fn every_fault_has_a_status_and_a_body_in_every_dialect() {
    for (file, dialect) in [
        ("openai/errors.txt", Dialect::OpenAi),
        ("anthropic/errors.txt", Dialect::Anthropic),
        ("ollama/errors.txt", Dialect::Ollama),
        ("spec/errors.txt", Dialect::Spec),
    ] {
        let mut all = String::new();
        for fault in faults() {
            let retry = fault.retry_after().map_or(String::new(), |wait| format!(" retry after {} s", wait.as_secs()));
            let _ = writeln!(all, "{}{retry}\n{}", fault.status(), dialect.error_body(&fault));
        }
        expect(&dir(file), &all);
    }
}
