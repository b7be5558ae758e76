//! Error bodies: `{"error": {"message", "type", "param", "code"}}`.

use http::StatusCode;
use serde_json::{Value, json};

use crate::fault::Fault;

/// The body of an error response, and the data of an error event in a stream.
#[must_use]
pub fn body(fault: &Fault) -> Value {
    json!({
        "error": {
            "message": fault.to_string(),
            "type": kind(fault.status()),
            "param": fault.param(),
            "code": fault.code(),
        }
    })
}

fn kind(status: StatusCode) -> &'static str {
    match status {
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => "timeout_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "server_error",
    }
}
