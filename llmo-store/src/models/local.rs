//! Where an installed model's files are on this machine: what an engine needs to know.

use std::path::PathBuf;

use super::ModelLibrary;
use crate::error::ModelsError;
use crate::manifest::Manifest;

/// An installed model whose files an engine can open.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalModel {
    /// What it consists of.
    pub manifest: Manifest,
    /// Its directory, with every file under its name in the manifest.
    pub dir: PathBuf,
    /// The file with the weights.
    pub weights: PathBuf,
}

impl ModelLibrary {
    /// The files of an installed model. Their sizes are checked, their hashes are not (see
    /// [`verify`](ModelLibrary::verify)).
    ///
    /// # Errors
    /// As for [`get`](ModelLibrary::get); [`ModelsError::Corrupt`] if a file is missing or has another size;
    /// [`ModelsError::NotInstalled`] if the store is not on this machine.
    pub async fn local(&self, name: &str) -> Result<LocalModel, ModelsError> {
        let manifest = self.get(name).await?;
        let corrupt = |file: &str, reason: String| ModelsError::Corrupt {
            model: manifest.id.clone(),
            file: file.to_owned(),
            reason,
        };
        for file in &manifest.files {
            match self.store().head(&manifest.path(&file.name)?).await {
                Ok(meta) if meta.size == file.size => {}
                Ok(meta) => {
                    return Err(corrupt(&file.name, format!("it has {} bytes instead of {}", meta.size, file.size)));
                }
                Err(llmo_core::StoreError::NotFound(_)) => {
                    return Err(corrupt(&file.name, "it is missing".to_owned()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let Some(file) = manifest.weights_file() else {
            return Err(corrupt("manifest.json", "it names no weights".to_owned()));
        };
        let Some(weights) = self.store().local_path(&manifest.path(&file.name)?).await? else {
            return Err(ModelsError::NotInstalled(manifest.id));
        };
        // `a/b.gguf` lies one level deeper than `b.gguf`.
        let dir = weights.ancestors().nth(1 + file.name.matches('/').count()).map(PathBuf::from).unwrap_or_default();
        Ok(LocalModel { manifest, dir, weights })
    }
}
