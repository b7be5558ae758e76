//! Error bodies of upstreams as [`ModelError`]s. Pure.
//!
//! llmo's services put [`ModelError::code`] into `code` and the error's text into `message`. [`WireError::into_error`]
//! undoes that, so that the error that comes out reads exactly like the one that went in, however many gateways it
//! passed. Errors of other upstreams are understood by their HTTP status.

use std::time::Duration;

use llmo_core::ModelError;
use serde_json::{Value, json};

/// What to wait when an upstream wants us to and does not say how long.
const DEFAULT_RETRY: Duration = Duration::from_secs(1);
/// Longest text of an error that is not JSON, in bytes: proxies answer with pages.
const MAX_TEXT: usize = 300;

/// What an upstream said went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WireError {
    /// The HTTP status; in a stream, the code if it is a number.
    pub status: Option<u16>,
    /// The error's stable name.
    pub code: String,
    /// Its text.
    pub message: String,
    /// The parameter that is to blame.
    pub param: Option<String>,
    /// The header `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl WireError {
    /// Reads an error response.
    #[must_use]
    pub fn from_response(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let parsed = serde_json::from_slice(body).ok().and_then(|body: Value| Self::from_json(&body));
        let error = parsed.unwrap_or_else(|| Self { message: plain_text(status, body), ..Self::default() });
        Self { status: Some(status), retry_after, ..error }
    }

    /// Reads an error out of a JSON object, if it holds one. Known forms: `{"error": {…}}` (OpenAI and most others),
    /// `{"error": "…"}` (Ollama, llmo's `/api`), `{"object": "error", …}` (older vLLM).
    #[must_use]
    pub fn from_json(body: &Value) -> Option<Self> {
        let error = match body.get("error") {
            Some(Value::Null) | None if body["object"] == "error" => body,
            Some(Value::Null) | None => return None,
            Some(error) => error,
        };
        if let Some(message) = error.as_str() {
            let code = body["code"].as_str().unwrap_or_default().to_owned();
            return Some(Self { message: message.to_owned(), code, ..Self::default() });
        }
        Some(Self {
            status: error["code"].as_u64().and_then(|code| u16::try_from(code).ok()),
            code: error["code"].as_str().unwrap_or_default().to_owned(),
            message: error["message"].as_str().unwrap_or("the upstream gave no reason").to_owned(),
            param: error["param"].as_str().map(str::to_owned),
            retry_after: None,
        })
    }

    /// Reads the data of an event that is named an error. llama-server sends the inner object alone.
    #[must_use]
    pub fn from_event(data: &str) -> Self {
        let parsed = serde_json::from_str(data).ok();
        let parsed =
            parsed.and_then(|body: Value| Self::from_json(&body).or_else(|| Self::from_json(&json!({"error": body}))));
        parsed.unwrap_or_else(|| Self { message: short(data).to_owned(), ..Self::default() })
    }

    /// The error, for a request for `model`; `started` tells whether output had begun.
    #[must_use]
    pub fn into_error(self, model: &str, started: bool) -> ModelError {
        let error = self.by_code(model, started).unwrap_or_else(|| self.by_status(model, started));
        match error {
            // These two promise that nothing was started.
            ModelError::Overloaded { .. } | ModelError::Unavailable { .. } if started => {
                ModelError::Upstream { message: error.to_string(), started }
            }
            error => error,
        }
    }

    /// llmo's own names, and those that OpenAI has as well.
    fn by_code(&self, model: &str, started: bool) -> Option<ModelError> {
        let message = self.message.as_str();
        Some(match self.code.as_str() {
            "invalid_request" => self.invalid(),
            "context_length_exceeded" => overflow(message).unwrap_or_else(|| self.invalid()),
            "model_not_found" => ModelError::NotFound {
                model: between(message, "the model \"", "\" does not exist").unwrap_or(model).to_owned(),
                suggestion: between(message, "did you mean \"", "\"").map(str::to_owned),
            },
            "unsupported" => match message.split_once("\" does not support ") {
                Some((subject, what)) => ModelError::Unsupported {
                    model: subject.strip_prefix("the model \"").unwrap_or(model).to_owned(),
                    what: what.to_owned(),
                },
                None => ModelError::Unsupported { model: model.to_owned(), what: message.to_owned() },
            },
            "overloaded" => {
                ModelError::Overloaded { reason: reason(message, "overloaded: "), retry_after: self.retry_after() }
            }
            "model_unavailable" | "unavailable" => {
                ModelError::Unavailable { reason: reason(message, "unavailable: "), retry_after: self.retry_after() }
            }
            "deadline_exceeded" => {
                ModelError::DeadlineExceeded { stage: after(message, "the deadline passed ").to_owned() }
            }
            "shutdown" => ModelError::Shutdown,
            "model_corrupt" => match between(message, "the weights of \"", "; delete and pull the model again") {
                Some(rest) => {
                    let (model, reason) = rest.split_once("\" are damaged: ").unwrap_or((model, rest));
                    ModelError::Corrupt { model: model.to_owned(), reason: reason.to_owned() }
                }
                None => ModelError::Corrupt { model: model.to_owned(), reason: message.to_owned() },
            },
            "no_space" => {
                let what = between(message, "no space is left for ", ": make room").unwrap_or(message);
                ModelError::NoSpace { what: what.to_owned() }
            }
            "upstream_failed" => {
                ModelError::Upstream { message: after(message, "upstream failed: ").to_owned(), started }
            }
            "engine_died" => ModelError::EngineDied { message: message.to_owned(), started },
            "upstream_crashed" => ModelError::Crashed { message: message.to_owned() },
            "internal" => ModelError::Internal(after(message, "internal error: ").to_owned()),
            _ => return None,
        })
    }

    fn by_status(&self, model: &str, started: bool) -> ModelError {
        let reason = || self.message.clone();
        match self.status {
            Some(400 | 413 | 422) => self.invalid(),
            Some(404) if self.message.contains("model") => {
                ModelError::NotFound { model: model.to_owned(), suggestion: None }
            }
            Some(429) => ModelError::Overloaded { reason: reason(), retry_after: self.retry_after() },
            Some(503) => ModelError::Unavailable { reason: reason(), retry_after: self.retry_after() },
            Some(status @ (401 | 403)) => {
                let message = format!("it refuses our key with status {status}: {}", self.message);
                ModelError::Upstream { message, started }
            }
            Some(status) => ModelError::Upstream { message: format!("status {status}: {}", self.message), started },
            None => ModelError::Upstream { message: reason(), started },
        }
    }

    fn invalid(&self) -> ModelError {
        let param = self.param.as_deref().unwrap_or("request");
        let message = after(after(&self.message, param), ": ");
        // Which field a constraint came in is known where the client is, and only there.
        let is_constraint = ["response_format", "structured_outputs", "grammar"].iter().any(|f| param.starts_with(f));
        ModelError::invalid(if is_constraint { "constraint" } else { param }, message)
    }

    /// The header; in a stream there is none, but the text says it.
    fn retry_after(&self) -> Duration {
        let said = || {
            let seconds = self.message.rsplit_once("; try again in ")?.1.strip_suffix(" s")?;
            Duration::try_from_secs_f64(seconds.parse().ok()?).ok()
        };
        self.retry_after.or_else(said).unwrap_or(DEFAULT_RETRY)
    }
}

fn after<'a>(text: &'a str, prefix: &str) -> &'a str {
    text.strip_prefix(prefix).unwrap_or(text)
}

fn between<'a>(text: &'a str, prefix: &str, suffix: &str) -> Option<&'a str> {
    let rest = &text[text.find(prefix)? + prefix.len()..];
    Some(&rest[..rest.find(suffix)?])
}

/// Without what the error's text puts around it.
fn reason(message: &str, prefix: &str) -> String {
    let message = after(message, prefix);
    message.rsplit_once("; try again in ").map_or(message, |(reason, _)| reason).to_owned()
}

/// The three counts out of the text. Other texts than ours have other orders, so all of it must fit.
fn overflow(message: &str) -> Option<ModelError> {
    let (prompt, rest) = message.strip_prefix("the prompt has ")?.split_once(" tokens and ")?;
    let (max, rest) = rest.split_once(" more were asked for, but the context of this model holds ")?;
    let (context, _) = rest.split_once(':')?;
    Some(ModelError::ContextOverflow {
        prompt_tokens: prompt.parse().ok()?,
        max_tokens: max.parse().ok()?,
        context_length: context.parse().ok()?,
    })
}

fn plain_text(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    match text {
        "" => format!("status {status} without a body"),
        text => short(text).to_owned(),
    }
}

fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overloaded(seconds: u64) -> ModelError {
        ModelError::Overloaded {
            reason: "all busy; try again in a bit".into(),
            retry_after: Duration::from_secs(seconds),
        }
    }

    fn every_error() -> Vec<ModelError> {
        vec![
            ModelError::invalid("top_p", "must be above 0: it is not"),
            ModelError::ContextOverflow { prompt_tokens: 9000, max_tokens: 1, context_length: 2048 },
            ModelError::NotFound { model: "x".into(), suggestion: None },
            ModelError::NotFound { model: "smol".into(), suggestion: Some("smollm2-135m".into()) },
            ModelError::Unsupported { model: "m".into(), what: "embeddings".into() },
            overloaded(7),
            ModelError::unavailable("loading"),
            ModelError::DeadlineExceeded { stage: "in the queue".into() },
            ModelError::Shutdown,
            ModelError::Corrupt { model: "m".into(), reason: "sha256 differs".into() },
            ModelError::NoSpace { what: "receiving model.gguf".into() },
            ModelError::Upstream { message: "connection reset".into(), started: false },
            ModelError::EngineDied { message: "the engine's process died of SIGABRT".into(), started: false },
            ModelError::Crashed { message: "twice".into() },
            ModelError::Internal("tensor 5".into()),
        ]
    }

    fn wire(error: &ModelError) -> Vec<u8> {
        let param = match error {
            ModelError::InvalidRequest { param, .. } => Some(param),
            _ => None,
        };
        let error = json!({"message": error.to_string(), "type": "t", "param": param, "code": error.code()});
        serde_json::to_vec(&json!({"error": error})).unwrap()
    }

    #[test]
    fn every_error_passes_the_wire_unchanged() {
        for error in every_error() {
            let retry_after = matches!(error, ModelError::Overloaded { .. }).then_some(Duration::from_secs(7));
            let read = WireError::from_response(500, retry_after, &wire(&error)).into_error("m", false);
            assert_eq!(format!("{read:?}"), format!("{error:?}"));
        }
    }

    #[test]
    fn what_promises_that_nothing_was_started_is_not_said_of_a_started_stream() {
        for error in [overloaded(7), ModelError::unavailable("loading")] {
            let read = WireError::from_response(503, None, &wire(&error)).into_error("m", true);
            assert!(matches!(read, ModelError::Upstream { started: true, .. }), "{read:?}");
        }
    }

    #[test]
    fn the_time_to_wait_is_read_from_the_text_where_there_is_no_header() {
        let read = WireError::from_response(200, None, &wire(&overloaded(7))).into_error("m", false);
        assert!(matches!(read, ModelError::Overloaded { retry_after, .. } if retry_after.as_secs() == 7), "{read:?}");
    }

    #[test]
    fn foreign_errors_are_understood_by_their_status() {
        let read = |status, body: &str| WireError::from_response(status, None, body.as_bytes()).into_error("m", false);
        let llama = r#"{"error":{"code":400,"message":"bad grammar","type":"invalid_request_error"}}"#;
        assert!(matches!(read(400, llama), ModelError::InvalidRequest { .. }));
        let ollama = r#"{"error":"model 'm' not found"}"#;
        assert!(matches!(read(404, ollama), ModelError::NotFound { .. }));
        assert!(matches!(read(404, "404 page not found"), ModelError::Upstream { started: false, .. }));
        let vllm = r#"{"object":"error","message":"This model's maximum context length is 5","code":400}"#;
        assert!(matches!(read(400, vllm), ModelError::InvalidRequest { .. }));
        let openai =
            r#"{"error":{"message":"Rate limit","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
        assert!(matches!(read(429, openai), ModelError::Overloaded { .. }));
        assert!(matches!(read(401, openai), ModelError::Upstream { started: false, .. }));
        let loading = r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#;
        assert!(matches!(read(503, loading), ModelError::Unavailable { .. }));
        assert!(matches!(read(502, "<html>Bad Gateway"), ModelError::Upstream { started: false, .. }));
        assert!(read(500, &"é".repeat(5000)).to_string().len() < 400);
    }

    #[test]
    fn an_answer_is_not_an_error() {
        assert_eq!(WireError::from_json(&json!({"choices": [], "error": null})), None);
    }
}
