//! Error bodies.

use llmo_core::ModelError;
use serde_json::{Value, json};

use crate::fault::Fault;

/// `{"error", "success": false}`, with the error's stable name beside it.
#[must_use]
pub fn body(fault: &Fault) -> Value {
    let mut message = fault.to_string();
    if matches!(fault, Fault::Model(ModelError::ContextOverflow { .. })) {
        // The advice names the parameter, which has another name here.
        message = message.replace("max_tokens", "max_length");
    }
    json!({"error": message, "success": false, "code": fault.code()})
}
