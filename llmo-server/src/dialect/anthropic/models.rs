//! `/v1/models` for clients that say `anthropic-version`.

use std::time::{Duration, UNIX_EPOCH};

use llmo_core::ModelInfo;
use serde_json::{Value, json};

/// The list of models, all on one page.
#[must_use]
pub fn list(models: &[ModelInfo]) -> Value {
    let id = |model: Option<&ModelInfo>| model.map(|model| model.id.clone());
    json!({
        "data": models.iter().map(one).collect::<Vec<_>>(),
        "has_more": false,
        "first_id": id(models.first()),
        "last_id": id(models.last()),
    })
}

/// One model.
#[must_use]
pub fn one(model: &ModelInfo) -> Value {
    let created = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(model.created.min(MAX_TIME)));
    json!({"type": "model", "id": model.id, "display_name": model.id, "created_at": created.to_string()})
}

/// The end of the year 9999, behind which there is no RFC 3339.
const MAX_TIME: u64 = 253_402_300_799;
