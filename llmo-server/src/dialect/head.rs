//! What every answer of a request says of itself.

use llmo_core::ModelInfo;

/// Identity of an answer. Made by the front end, which has the clock and the ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Identifies the request; dialects put their prefix before it.
    pub id: String,
    /// Unix time in seconds.
    pub created: u64,
    /// The model that answers.
    pub model: String,
    /// Changes when the same seed may give another output: other weights or another version of llmo.
    pub fingerprint: String,
}

impl Head {
    /// The head of an answer by this model.
    #[must_use]
    pub fn new(id: &str, created: u64, model: &ModelInfo) -> Self {
        Self { id: id.to_owned(), created, model: model.id.clone(), fingerprint: fingerprint(model) }
    }
}

fn fingerprint(model: &ModelInfo) -> String {
    let weights = model.digest.as_deref().map_or(model.backend.as_str(), |digest| digest.get(..12).unwrap_or(digest));
    format!("fp_{}_{weights}", env!("CARGO_PKG_VERSION"))
}
