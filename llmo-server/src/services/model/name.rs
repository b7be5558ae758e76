//! The names of the models that a configuration asks for.

use std::path::{Path, PathBuf};

use llmo_config::ModelConfig;

/// A model to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its name for callers.
    pub(super) id: String,
    /// Its file, if it doesn't come from the store.
    pub(super) file: Option<PathBuf>,
}

/// What to serve, the default model first. A file (`MODEL_PATH`) takes the place of the first name.
pub(super) fn wanted(config: &ModelConfig) -> Vec<Wanted> {
    let file = config.path.iter().map(|path| Wanted { id: id_of_file(path), file: Some(path.clone()) });
    let rest = config.names.iter().skip(usize::from(config.path.is_some()));
    file.chain(rest.map(|name| Wanted { id: name.clone(), file: None })).collect()
}

/// `/models/My Model.Q4_1.gguf` is called `my-model.q4_1`.
fn id_of_file(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    let id: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let id = id.trim_matches(['-', '.']);
    if id.is_empty() { "model".to_owned() } else { id.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_the_place_of_the_default_model() {
        let mut config = ModelConfig { names: vec!["a".into(), "b".into()], ..ModelConfig::default() };
        let ids = |config: &ModelConfig| wanted(config).into_iter().map(|w| w.id).collect::<Vec<_>>();
        assert_eq!(ids(&config), ["a", "b"]);
        config.path = Some("/m/My Model.Q4_1.gguf".into());
        assert_eq!(ids(&config), ["my-model.q4_1", "b"]);
        config.path = Some("/m/....gguf".into());
        assert_eq!(ids(&config), ["model", "b"]);
    }
}
