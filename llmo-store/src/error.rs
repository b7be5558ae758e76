//! What can go wrong between a model's name and its weights.

use llmo_core::store::StoreError;

use crate::catalogue::suggest;

/// Why a model could not be listed, shown, fetched, stored or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelsError {
    /// No model has this name.
    #[error("there is no model {name:?}{}", meant(.suggestion.as_ref()))]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// The model is known, but its weights are not here.
    #[error("{0} is not installed: get it with `llmo pull {0}`")]
    NotInstalled(String),
    /// The name is taken by an installed model.
    #[error("{0} is installed already: remove it first with `llmo rm {0}`, or choose another name")]
    AlreadyInstalled(String),
    /// No name for a model.
    #[error("{0}")]
    InvalidName(String),
    /// The catalogue can't be used.
    #[error("{origin}: {reason}")]
    Catalogue {
        /// Which catalogue.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An installed model's manifest can't be used.
    #[error(
        "the manifest of {model} can't be used: {reason}; remove the model with `llmo rm {model}` and pull it again"
    )]
    Manifest {
        /// The model.
        model: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Stored bytes are not what they were when they were stored.
    #[error("{model} is corrupt: {file}: {reason}; remove it with `llmo rm {model}` and pull it again")]
    Corrupt {
        /// The model.
        model: String,
        /// The file that is not as it was.
        file: String,
        /// How it differs.
        reason: String,
    },
    /// A weight file that no engine may see.
    #[error("{file} is damaged or is no weight file: {reason}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file has no pinned hash, and the user did not ask for such files.
    #[error("{model}: {file} has no pinned sha256 in the catalogue: add one, or accept whatever comes with --unpinned")]
    Unpinned {
        /// The model.
        model: String,
        /// The file.
        file: String,
    },
    /// Every source failed.
    #[error("{}", exhausted(.model, .attempts))]
    NoSource {
        /// The model.
        model: String,
        /// What was tried, in order.
        attempts: Vec<Attempt>,
    },
    /// A file or directory that was to be imported can't be.
    #[error("{path} can't be imported: {reason}")]
    Import {
        /// What was given.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A source that was tried, and why it did not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The source.
    pub source: String,
    /// Why it failed.
    pub reason: String,
    /// What would make it work, if that is known.
    pub remedy: Option<String>,
}

impl ModelsError {
    pub(crate) fn unknown<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        Self::UnknownModel { name: name.to_owned(), suggestion: suggest(name, known) }
    }
}

fn meant(suggestion: Option<&String>) -> String {
    suggestion.map_or_else(
        || ": `llmo list --all` shows the known ones".to_owned(),
        |suggestion| format!(": did you mean {suggestion}?"),
    )
}

fn exhausted(model: &str, attempts: &[Attempt]) -> String {
    let mut text = format!("no source could give {model}");
    for attempt in attempts {
        text.push_str(&format!("\n  {}: {}", attempt.source, attempt.reason));
    }
    if attempts.is_empty() {
        text.push_str(": none is configured (store.sources)");
    }
    text.push_str("\nwhat helps: ");
    for remedy in attempts.iter().filter_map(|attempt| attempt.remedy.as_ref()) {
        text.push_str(&format!("{remedy}; or "));
    }
    text.push_str(&format!("take the file from another machine: `llmo pull --from FILE {model}`"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_all_sources_fail_the_error_says_what_was_tried_and_what_helps() {
        let attempts = vec![
            Attempt { source: "hub".into(), reason: "no route".into(), remedy: None },
            Attempt { source: "registry".into(), reason: "no pip".into(), remedy: Some("install pip".into()) },
        ];
        let text = ModelsError::NoSource { model: "m".into(), attempts }.to_string();
        for part in ["hub: no route", "registry: no pip", "install pip; or ", "llmo pull --from FILE m"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
