//! What must hold for an entry before it is believed: a user's additions come from a file that anybody may have written.

use llmo_core::store::StorePath;

use super::entry::{CatalogueEntry, SourceEntry};
use crate::digest::is_sha256;
use crate::manifest::MANIFEST;

/// What is wrong with an entry, if anything.
pub(super) fn fault(entry: &CatalogueEntry) -> Option<String> {
    if let Some(reason) = id_fault(&entry.id) {
        return Some(reason);
    }
    if entry.files.is_empty() {
        return Some("names no file".to_owned());
    }
    for (index, file) in entry.files.iter().enumerate() {
        if StorePath::new(format!("{}/{}", entry.id, file.name)).is_err() || file.name == MANIFEST {
            return Some(format!("{:?} is no name for a file", file.name));
        }
        if entry.files[..index].iter().any(|other| other.name == file.name) {
            return Some(format!("names {:?} twice", file.name));
        }
        if file.sha256.as_deref().is_some_and(|hash| !is_sha256(hash)) {
            return Some(format!("the sha256 of {:?} is not 64 hexadecimal digits", file.name));
        }
        if file.size == Some(0) {
            return Some(format!("{:?} would be empty", file.name));
        }
    }
    entry.sources.iter().find_map(source_fault)
}

/// What is wrong with a name for a model: it becomes a directory.
pub(crate) fn id_fault(id: &str) -> Option<String> {
    match StorePath::new(id) {
        Ok(_) if id.contains('/') => Some(format!("{id:?} is no model name: it must not contain '/'")),
        Ok(_) if id.len() > 100 => Some("a model name has at most 100 characters".to_owned()),
        Ok(_) => None,
        Err(error) => Some(format!("{id:?} is no model name: {error}")),
    }
}

fn source_fault(source: &SourceEntry) -> Option<String> {
    match source {
        // These become parts of a URL and arguments of a program.
        SourceEntry::Hub { repo, revision, .. } => {
            let plain = |text: &str| StorePath::new(text).is_ok();
            (!(plain(repo) && repo.matches('/').count() <= 1 && plain(revision)))
                .then(|| format!("{repo:?} at {revision:?} is no repository of a hub"))
        }
        SourceEntry::Registry { package, version, .. } => {
            let plain = |text: &str| {
                text.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+!".contains(c))
            };
            (!(plain(package) && plain(version))).then(|| format!("{package:?} {version:?} is no package"))
        }
    }
}
