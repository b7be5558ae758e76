//! Error bodies.

use serde_json::{Value, json};

use crate::fault::Fault;

/// `{"error", "success": false}`, with the error's stable name beside it.
#[must_use]
pub fn body(fault: &Fault) -> Value {
    json!({"error": fault.to_string(), "success": false, "code": fault.code()})
}
