//! Error bodies: `{"error": "…"}`.

use llmo_core::ModelError;
use serde_json::{Value, json};

use crate::fault::Fault;

/// Our names of parameters and this dialect's.
const NAMES: [(&str, &str); 11] = [
    ("max_tokens", "options.num_predict"),
    ("temperature", "options.temperature"),
    ("top_p", "options.top_p"),
    ("min_p", "options.min_p"),
    ("typical_p", "options.typical_p"),
    ("repetition_penalty", "options.repeat_penalty"),
    ("frequency_penalty", "options.frequency_penalty"),
    ("presence_penalty", "options.presence_penalty"),
    ("stop", "options.stop"),
    ("mirostat", "options.mirostat"),
    ("constraint", "format"),
];

/// The body of an error response, and the last line of a stream that failed; the error's stable name is beside it.
#[must_use]
pub fn body(fault: &Fault) -> Value {
    let mut message = fault.clone().spelled(&NAMES).to_string();
    if matches!(fault, Fault::Model(ModelError::ContextOverflow { .. })) {
        // The advice names the parameter, which has another name here.
        message = message.replace("max_tokens", "num_predict");
    }
    json!({"error": message, "code": fault.code()})
}
