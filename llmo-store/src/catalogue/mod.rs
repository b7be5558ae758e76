//! Models that can be asked for by name: what they are, which bytes they are, where these can be had.
//!
//! The catalogue is data (`data/catalogue.toml`), compiled in; a user adds to it with a file of the same form.
//!
//! **Trust.** A catalogued file is pinned by its sha256. Sources are only ways to get those bytes; none of them is
//! trusted. Bytes without a pinned hash are accepted only where the user said so, and then only over HTTPS, after
//! their header was checked; their hash is written down in the model's manifest from then on.
//!
//! ```
//! let catalogue = llmo_store::catalogue::Catalogue::builtin()?;
//! assert_eq!(catalogue.require("smollm2:135m")?.id, "smollm2-135m");
//! assert!(catalogue.require("smolm2").is_err_and(|e| e.to_string().contains("smollm2")));
//! # Ok::<(), llmo_store::ModelsError>(())
//! ```

mod check;
mod entry;
mod suggest;

use std::path::Path;

use serde::Deserialize;

pub(crate) use check::id_fault;
pub use entry::{CatalogueEntry, CatalogueFile, SourceEntry, Task, WeightsFormat};
pub use suggest::suggest;

use crate::error::ModelsError;

const BUILTIN: &str = include_str!("../../data/catalogue.toml");

/// Every model known by name.
#[derive(Debug, Clone)]
pub struct Catalogue {
    entries: Vec<CatalogueEntry>,
    default: String,
    default_embedder: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    default: Option<String>,
    default_embedder: Option<String>,
    #[serde(default, rename = "model")]
    models: Vec<CatalogueEntry>,
}

impl Catalogue {
    /// What is compiled in.
    ///
    /// # Errors
    /// [`ModelsError::Catalogue`]; a test holds that this does not happen.
    pub fn builtin() -> Result<Self, ModelsError> {
        let empty = Self { entries: Vec::new(), default: String::new(), default_embedder: String::new() };
        empty.with_additions(BUILTIN, "the built-in catalogue")
    }

    /// What is compiled in, and a user's file if there is one at `additions`.
    ///
    /// # Errors
    /// [`ModelsError::Catalogue`] if the file can't be read, or says something that can't be.
    pub fn load(additions: Option<&Path>) -> Result<Self, ModelsError> {
        let builtin = Self::builtin()?;
        let Some(path) = additions else { return Ok(builtin) };
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => builtin.with_additions(&text, &name),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(builtin),
            Err(error) => Err(ModelsError::Catalogue { origin: name, reason: error.to_string() }),
        }
    }

    /// This catalogue and the models of a TOML text. A model whose id is already there replaces it.
    ///
    /// # Errors
    /// [`ModelsError::Catalogue`] naming `origin` and what is wrong.
    pub fn with_additions(mut self, text: &str, origin: &str) -> Result<Self, ModelsError> {
        let fault = |reason: String| ModelsError::Catalogue { origin: origin.to_owned(), reason };
        let document: Document = toml::from_str(text).map_err(|e| fault(e.to_string()))?;
        for entry in document.models {
            if let Some(reason) = check::fault(&entry) {
                return Err(fault(format!("model {:?}: {reason}", entry.id)));
            }
            self.entries.retain(|known| known.id != entry.id);
            let names = || std::iter::once(&entry.id).chain(&entry.aliases);
            if let Some(taken) = names().find(|name| self.find(name).is_some()) {
                return Err(fault(format!("model {:?}: the name {taken:?} belongs to another model", entry.id)));
            }
            self.entries.push(entry);
        }
        self.default = document.default.unwrap_or(self.default);
        self.default_embedder = document.default_embedder.unwrap_or(self.default_embedder);
        for name in [&self.default, &self.default_embedder] {
            if self.find(name).is_none() {
                return Err(fault(format!("the default model {name:?} is not in the catalogue")));
            }
        }
        Ok(self)
    }

    /// All models, in the order of the files.
    #[must_use]
    pub fn entries(&self) -> &[CatalogueEntry] {
        &self.entries
    }

    /// The model that is used when none is named.
    #[must_use]
    pub fn default_model(&self) -> &str {
        &self.default
    }

    /// The embedding model that is used when none is named.
    #[must_use]
    pub fn default_embedder(&self) -> &str {
        &self.default_embedder
    }

    /// The model with this id or alias. Case doesn't matter.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&CatalogueEntry> {
        self.entries.iter().find(|entry| {
            entry.id.eq_ignore_ascii_case(name) || entry.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
        })
    }

    /// The model with this id or alias.
    ///
    /// # Errors
    /// [`ModelsError::UnknownModel`] with the name that was probably meant.
    pub fn require(&self, name: &str) -> Result<&CatalogueEntry, ModelsError> {
        self.find(name).ok_or_else(|| ModelsError::unknown(name, self.names()))
    }

    /// All ids and aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().flat_map(|entry| std::iter::once(&entry.id).chain(&entry.aliases)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests;
