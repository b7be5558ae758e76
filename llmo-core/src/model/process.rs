//! How a model is that runs in a process of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The process that a model runs in, where that is not this one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Process {
    /// Its id; `None` while there is none.
    pub id: Option<u32>,
    /// Why it does not answer right now, if it doesn't: requests are refused with
    /// [`ModelError::Unavailable`](super::ModelError::Unavailable).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<String>,
    /// How often it had to be started again since the model was loaded, by the reason: a short stable name each.
    #[serde(default)]
    pub restarts: BTreeMap<String, u64>,
}
