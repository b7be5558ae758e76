//! Importing weights that somebody has as files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use futures::StreamExt;
use llmo_core::store::{Store, StorePutOptions};

use super::lock::PullLock;
use super::progress::{Phase, Progress};
use crate::catalogue::{CatalogueEntry, Task, WeightsFormat, id_fault};
use crate::error::ModelsError;
use crate::header;
use crate::local::LocalStore;
use crate::manifest::{Manifest, ManifestFile};
use crate::models::ModelLibrary;

/// What an embedding model in safetensors consists of. The first three are indispensable.
const SAFETENSORS_FILES: [&str; 5] =
    ["model.safetensors", "tokenizer.json", "config.json", "sentence_bert_config.json", "1_Pooling/config.json"];
const INDISPENSABLE: usize = 3;

/// See [`Puller::import`](super::Puller::import).
pub(super) async fn run(
    store: &LocalStore,
    library: &ModelLibrary,
    path: &Path,
    name: &str,
    progress: Arc<dyn Progress>,
) -> Result<Manifest, ModelsError> {
    let pinned = library.catalogue().find(name);
    let id = pinned.map_or(name, |entry| entry.id.as_str());
    if let Some(reason) = id_fault(id) {
        return Err(ModelsError::InvalidName(reason));
    }
    let mut manifest = pinned.map_or_else(|| Manifest::unnamed(id), Manifest::of_entry);
    let files = find_files(path, pinned, &mut manifest)?;
    let lock = PullLock::acquire(&store.layout().hidden("locks"), id, &*progress).await?;
    if Manifest::read(store, id).await.is_ok_and(|installed| installed.is_some()) {
        return Err(ModelsError::AlreadyInstalled(id.to_owned()));
    }
    // All headers before the first byte is copied: a damaged file should say so at once.
    for (file, name) in &files {
        if let Some(facts) = header::of_file(file, name).await?
            && pinned.is_none()
        {
            manifest.task = if facts.embeds() { Task::Embed } else { Task::Generate };
            manifest.title = facts.name.unwrap_or_default();
        }
    }
    let mut done = 0;
    let total = files.iter().map(|(file, _)| file.metadata().map(|meta| meta.len()).ok()).sum::<Option<u64>>();
    for (file, name) in &files {
        progress.phase(&Phase::Receiving { file: name.clone(), resumed: 0 });
        let pin = pinned.and_then(|entry| entry.files.iter().find(|known| known.name == *name));
        let mut options = StorePutOptions::default();
        options.expected_sha256 = pin.and_then(|pin| pin.sha256.clone());
        options.expected_size = pin.and_then(|pin| pin.size);
        let unreadable = |e: std::io::Error| refused(file, e.to_string());
        let opened = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let length = opened.metadata().await.map_err(unreadable)?.len();
        let (watcher, before) = (progress.clone(), done);
        let mut copied = before;
        let data = crate::range::read(opened, length, format!("reading {}", file.display())).inspect(move |piece| {
            copied += piece.as_ref().map_or(0, |piece| piece.len() as u64);
            watcher.bytes(copied, total);
        });
        let object = store.put(&manifest.path(name)?, data.boxed(), options).await?;
        manifest.files.push(ManifestFile::new(name, object.size, object.sha256.unwrap_or_default()));
        done += object.size;
    }
    progress.phase(&Phase::Installing { model: id.to_owned() });
    manifest.source = format!("imported from {}", path.display());
    manifest.installed = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    manifest.write(store).await?;
    drop(lock);
    Ok(manifest)
}

/// The files to import, with their names in the model's directory.
fn find_files(
    path: &Path,
    pinned: Option<&CatalogueEntry>,
    manifest: &mut Manifest,
) -> Result<Vec<(PathBuf, String)>, ModelsError> {
    let meta = path.metadata().map_err(|e| refused(path, e.to_string()))?;
    if let Some(entry) = pinned {
        let known = entry.files.iter().map(|file| file.name.clone());
        return match entry.files.as_slice() {
            [only] if meta.is_file() => Ok(vec![(path.to_owned(), only.name.clone())]),
            _ if meta.is_dir() => Ok(known.map(|name| (path.join(&name), name)).collect()),
            _ => Err(refused(path, format!("{} has several files: give the directory that holds them", entry.id))),
        };
    }
    if meta.is_file() {
        manifest.weights = WeightsFormat::Gguf;
        return Ok(vec![(path.to_owned(), "model.gguf".to_owned())]);
    }
    manifest.weights = WeightsFormat::Safetensors;
    if let Some(missing) = SAFETENSORS_FILES[..INDISPENSABLE].iter().find(|name| !path.join(name).is_file()) {
        return Err(refused(path, format!("there is no {missing} in it")));
    }
    let there = SAFETENSORS_FILES.iter().filter(|name| path.join(name).is_file());
    Ok(there.map(|name| (path.join(name), (*name).to_owned())).collect())
}

fn refused(path: &Path, reason: String) -> ModelsError {
    ModelsError::Import { path: path.display().to_string(), reason }
}
