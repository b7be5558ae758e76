//! All that can be told of an installed model.

use serde::{Deserialize, Serialize};

use super::ModelLibrary;
use crate::error::ModelsError;
use crate::header::{self, WeightsFacts};
use crate::manifest::Manifest;

/// An installed model and what its weights say of themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelDetails {
    /// What it consists of.
    pub manifest: Manifest,
    /// What the header of its weights says.
    pub facts: WeightsFacts,
}

impl ModelLibrary {
    /// An installed model, with the facts from the header of its weights.
    ///
    /// # Errors
    /// As for [`get`](ModelLibrary::get); [`ModelsError::Damaged`] if the header can't be read.
    pub async fn show(&self, name: &str) -> Result<ModelDetails, ModelsError> {
        let manifest = self.get(name).await?;
        let facts = match manifest.weights_file() {
            Some(file) => header::of_object(&**self.store(), &manifest.path(&file.name)?, file.size).await?,
            None => None,
        };
        Ok(ModelDetails { manifest, facts: facts.unwrap_or_default() })
    }
}
