//! Making a variant of a model: one maker at a time, staged, checked, adopted; its manifest last.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use llmo_core::store::{Store, StoreError, StorePath};
use serde_json::Value;

use super::lock::PullLock;
use super::progress::Progress;
use super::{Puller, remove_directory};
use crate::catalogue::id_fault;
use crate::digest::Digest;
use crate::error::ModelsError;
use crate::header;
use crate::local::{io_fault, off_thread};
use crate::manifest::ManifestFile;
use crate::variant::{VARIANT_WEIGHTS, Variant};

/// What a variant is made from.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct VariantSource<'a> {
    /// The model's id.
    pub model: &'a str,
    /// sha256 of its weights.
    pub sha256: &'a str,
    /// The variant's name, such as `q8_0`.
    pub variant: &'a str,
}

impl<'a> VariantSource<'a> {
    /// See the fields.
    #[must_use]
    pub fn new(model: &'a str, sha256: &'a str, variant: &'a str) -> Self {
        Self { model, sha256, variant }
    }
}

impl Puller {
    /// A variant and the file with its weights, if it is there and made from these very weights.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn variant(&self, source: VariantSource<'_>) -> Result<Option<(Variant, PathBuf)>, ModelsError> {
        let Some(variant) = Variant::read(&self.store, source.model, source.variant).await? else { return Ok(None) };
        let path = StorePath::new(format!("{}/{}", source.model, variant.file.name))?;
        let whole = match self.store.head(&path).await {
            Ok(meta) => meta.size == variant.file.size && meta.sha256.as_ref() == Some(&variant.file.sha256),
            Err(StoreError::NotFound(_)) => false,
            Err(error) => return Err(error.into()),
        };
        if !whole || variant.source_sha256 != source.sha256 {
            return Ok(None);
        }
        Ok(self.store.local_path(&path).await?.map(|file| (variant, file)))
    }

    /// The variant, which `make` makes if it isn't there: it is given the path to write to. `tool` is what makes it.
    ///
    /// Others that want the same model wait meanwhile. What `make` leaves behind when it fails, or was killed, is removed; the
    /// next attempt begins anew. A variant is visible when it is whole and its header has been checked.
    ///
    /// # Errors
    /// What `make` fails with; [`ModelsError::Damaged`] if what it made is no model; the store's own.
    pub async fn make_variant<F>(
        &self,
        source: VariantSource<'_>,
        tool: &str,
        progress: &dyn Progress,
        make: impl FnOnce(PathBuf) -> F + Send,
    ) -> Result<(Variant, PathBuf), ModelsError>
    where
        F: Future<Output = Result<(), ModelsError>> + Send,
    {
        if let Some(reason) = id_fault(source.model) {
            return Err(ModelsError::InvalidName(reason));
        }
        let id = format!("{}.{}", source.model, source.variant);
        let _lock = PullLock::acquire(&self.store.layout().hidden("locks"), &id, progress).await?;
        if let Some(found) = self.variant(source).await? {
            return Ok(found);
        }
        let staging = self.store.layout().hidden("variants").join(&id);
        remove_directory(staging.clone()).await?;
        let (dir, doing) = (staging.clone(), format!("making a place for {id}"));
        off_thread(move || std::fs::create_dir_all(dir).map_err(|e| io_fault(&doing, e))).await?;
        let outcome = self.make_in(&staging.join(VARIANT_WEIGHTS), source, tool, make).await;
        remove_directory(staging).await?;
        outcome
    }

    async fn make_in<F>(
        &self,
        staged: &Path,
        source: VariantSource<'_>,
        tool: &str,
        make: impl FnOnce(PathBuf) -> F + Send,
    ) -> Result<(Variant, PathBuf), ModelsError>
    where
        F: Future<Output = Result<(), ModelsError>> + Send,
    {
        make(staged.to_owned()).await?;
        header::of_file(staged, VARIANT_WEIGHTS).await?;
        let (file, doing) = (staged.to_owned(), format!("reading {}", staged.display()));
        let digest = off_thread(move || {
            let size = file.metadata().map_err(|e| io_fault(&doing, e))?.len();
            let sha256 = crate::file_sha256(&file).map_err(|e| io_fault(&doing, e))?;
            Ok(Digest { sha256, size })
        })
        .await?;
        let name = format!("{}/{VARIANT_WEIGHTS}", source.variant);
        let path = StorePath::new(format!("{}/{name}", source.model))?;
        let (store, file, target, sum) = (self.store.clone(), staged.to_owned(), path.clone(), digest.clone());
        off_thread(move || store.adopt(&file, &target, &sum)).await?;
        let variant = Variant {
            format: 1,
            model: source.model.to_owned(),
            variant: source.variant.to_owned(),
            source_sha256: source.sha256.to_owned(),
            tool: tool.to_owned(),
            made: UNIX_EPOCH.elapsed().unwrap_or_default().as_secs(),
            file: ManifestFile::new(name, digest.size, digest.sha256),
            measured: Value::Null,
        };
        variant.write(&self.store).await?;
        let weights = self.store.local_path(&path).await?;
        let gone = || ModelsError::from(StoreError::NotFound(path.to_string()));
        Ok((variant, weights.ok_or_else(gone)?))
    }

    /// Writes down what was measured of a variant.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn describe_variant(&self, variant: &Variant) -> Result<(), ModelsError> {
        variant.write(&self.store).await
    }
}
