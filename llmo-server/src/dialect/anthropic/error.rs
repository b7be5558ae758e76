//! Error bodies: `{"type": "error", "error": {"type", "message"}}`.

use http::StatusCode;
use llmo_core::ModelError;
use serde_json::{Value, json};

use crate::fault::Fault;

/// Our names of parameters and this dialect's.
const NAMES: [(&str, &str); 2] = [("stop", "stop_sequences"), ("constraint", "output_config.format")];

/// The body of an error response, and the data of an error event in a stream.
#[must_use]
pub fn body(fault: &Fault) -> Value {
    let kind = kind(fault);
    json!({"type": "error", "error": {"type": kind, "message": fault.clone().spelled(&NAMES).to_string()}})
}

fn kind(fault: &Fault) -> &'static str {
    match fault.status() {
        // Theirs has status 529, which means 503 to everybody else.
        StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => "timeout_error",
        StatusCode::CONFLICT if matches!(fault, Fault::Model(ModelError::Corrupt { .. })) => "api_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "api_error",
    }
}
