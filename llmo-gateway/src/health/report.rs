//! What upstreams say of themselves: the status of an llmo model service, and OpenAI's list of models.

use llmo_core::model::{Load, ModelInfo};
use serde::Deserialize;

use crate::replica::{ProbeOutcome, Reported};

/// Most models one replica may report; more are left out, so that a faulty upstream can't fill our memory.
const MAX_MODELS: usize = 256;
/// Longest name of a model, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// Most reasons kept, and the longest of them.
const MAX_REASONS: usize = 8;
const MAX_REASON_CHARS: usize = 200;

/// `GET /internal/status`.
#[derive(Deserialize)]
struct Status {
    ready: bool,
    #[serde(default)]
    reasons: Vec<String>,
    #[serde(default)]
    models: Vec<ModelStatus>,
}

#[derive(Deserialize)]
struct ModelStatus {
    info: ModelInfo,
    #[serde(default)]
    load: Load,
}

/// `GET /v1/models`.
#[derive(Deserialize)]
struct ModelList {
    data: Vec<ListedModel>,
}

#[derive(Deserialize)]
struct ListedModel {
    id: String,
    #[serde(default)]
    created: u64,
    /// vLLM's name.
    #[serde(default)]
    max_model_len: Option<u32>,
    /// Servers that run models themselves put their own name here.
    #[serde(default)]
    owned_by: String,
}

/// Who takes `top_k`, `min_p` and the like, by what its list of models says. Nobody else is sent parameters that it may
/// refuse.
const KNOW_EXTENSIONS: [&str; 3] = ["vllm", "sglang", "llamacpp"];

/// Reads the status of a model service.
pub(super) fn status(body: &[u8]) -> Result<ProbeOutcome, serde_json::Error> {
    let status: Status = serde_json::from_slice(body)?;
    let models = bounded(status.models.into_iter().map(|m| Reported { info: m.info, load: m.load }));
    Ok(match (status.ready, models.is_empty()) {
        (true, false) => ProbeOutcome::Ready(models),
        (true, true) => ProbeOutcome::NotReady { reasons: vec!["it serves no model".into()], models },
        (false, _) => ProbeOutcome::NotReady { reasons: reasons(status.reasons), models },
    })
}

/// Reads OpenAI's list of models. It does not say what a model can do: everything that the protocol has is tried. True if
/// its server is known to take parameters that OpenAI does not have.
pub(super) fn model_list(body: &[u8]) -> Result<(ProbeOutcome, bool), serde_json::Error> {
    let list: ModelList = serde_json::from_slice(body)?;
    let extensions = list.data.iter().any(|listed| KNOW_EXTENSIONS.contains(&listed.owned_by.as_str()));
    let models = bounded(list.data.into_iter().map(|listed| {
        let mut info = ModelInfo::new(listed.id, "remote");
        info.created = listed.created;
        info.context_length = listed.max_model_len.unwrap_or(0);
        info.capabilities.generate = true;
        info.capabilities.chat = true;
        info.capabilities.embed = true;
        info.capabilities.logprobs = true;
        Reported { info, load: Load::default() }
    }));
    if models.is_empty() {
        return Ok((ProbeOutcome::NotReady { reasons: vec!["it serves no model".into()], models }, extensions));
    }
    Ok((ProbeOutcome::Ready(models), extensions))
}

fn bounded(models: impl Iterator<Item = Reported>) -> Vec<Reported> {
    let named = |m: &Reported| !m.info.id.is_empty() && m.info.id.len() <= MAX_NAME_BYTES;
    models.filter(named).take(MAX_MODELS).collect()
}

fn reasons(reasons: Vec<String>) -> Vec<String> {
    if reasons.is_empty() {
        return vec!["it says that it is not ready".into()];
    }
    let short = |reason: String| match reason.char_indices().nth(MAX_REASON_CHARS) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason,
    };
    reasons.into_iter().take(MAX_REASONS).map(short).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_gives_models_and_load() {
        let info = serde_json::to_value(ModelInfo::new("m", "sim")).expect("plain data");
        let load = serde_json::to_value(Load::idle(4)).expect("plain data");
        let body = serde_json::json!({"build": "x", "ready": true, "models": [{"info": info, "load": load}]});
        let ProbeOutcome::Ready(models) = status(body.to_string().as_bytes()).expect("valid") else {
            panic!("it is ready");
        };
        assert_eq!((models[0].info.id.as_str(), models[0].load.slots), ("m", 4));
    }

    #[test]
    fn a_service_that_is_not_ready_says_why() {
        let outcome = status(br#"{"ready": false, "reasons": ["loading smollm2"]}"#).expect("valid");
        let want = ProbeOutcome::NotReady { reasons: vec!["loading smollm2".into()], models: vec![] };
        assert_eq!(outcome, want);
    }

    #[test]
    fn a_ready_service_without_models_can_not_be_used() {
        assert!(matches!(status(br#"{"ready": true}"#), Ok(ProbeOutcome::NotReady { .. })));
        assert!(matches!(model_list(br#"{"data": []}"#), Ok((ProbeOutcome::NotReady { .. }, false))));
    }

    #[test]
    fn openai_lists_are_read() {
        let outcome = model_list(br#"{"object": "list", "data": [{"id": "gpt", "object": "model", "created": 5}]}"#);
        let Ok((ProbeOutcome::Ready(models), extensions)) = outcome else { panic!("{outcome:?}") };
        assert_eq!((models[0].info.id.as_str(), models[0].info.created, extensions), ("gpt", 5, false));
    }

    #[test]
    fn servers_that_take_more_than_openai_are_known_by_their_name() {
        for (owner, takes) in [("vllm", true), ("sglang", true), ("llamacpp", true), ("openai", false), ("x", false)] {
            let body = serde_json::json!({"data": [{"id": "m", "owned_by": owner}]}).to_string();
            assert!(matches!(model_list(body.as_bytes()), Ok((_, extensions)) if extensions == takes), "{owner}");
        }
    }

    #[test]
    fn endless_lists_names_and_reasons_are_cut() {
        let many: Vec<_> = (0..1_000).map(|i| serde_json::json!({"id": format!("m{i}")})).collect();
        let body = serde_json::json!({"data": many}).to_string();
        assert!(matches!(model_list(body.as_bytes()), Ok((ProbeOutcome::Ready(m), _)) if m.len() == MAX_MODELS));
        let body = serde_json::json!({"ready": false, "reasons": vec!["é".repeat(10_000); 50]}).to_string();
        let Ok(ProbeOutcome::NotReady { reasons, .. }) = status(body.as_bytes()) else { panic!("not ready") };
        assert!(reasons.len() == MAX_REASONS && reasons[0].chars().count() == MAX_REASON_CHARS + 1);
    }
}
