//! Every object below a directory.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::Path;

use llmo_core::store::{Result, StorePath};

use super::fault::io_fault;
use super::layout::Layout;

/// Paths and file facts of the objects under `prefix`, ordered by path. Blocking.
///
/// Files whose name is no [`StorePath`] (hidden ones among them) and links out of the root are not objects.
pub(super) fn objects(layout: &Layout, prefix: Option<&StorePath>) -> Result<Vec<(StorePath, Metadata)>> {
    let mut found = Vec::new();
    match prefix {
        None => visit(layout, layout.root(), None, &mut found)?,
        Some(prefix) => {
            let dir = layout.object(prefix);
            if dir.is_dir() {
                visit(layout, &dir, Some(prefix), &mut found)?;
            } else {
                keep(layout, prefix, &mut found);
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

fn visit(
    layout: &Layout,
    dir: &Path,
    prefix: Option<&StorePath>,
    found: &mut Vec<(StorePath, Metadata)>,
) -> Result<()> {
    let doing = || format!("listing {}", dir.display());
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        // Removed since its parent was read.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_fault(&doing(), error)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| io_fault(&doing(), e))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = match prefix {
            None => StorePath::new(name),
            Some(prefix) => prefix.join(name),
        };
        let Ok(path) = path else { continue };
        match entry.file_type() {
            // Only real directories are descended into: a link could make a circle. A StorePath has at most 16
            // segments, which bounds the depth.
            Ok(kind) if kind.is_dir() => visit(layout, &entry.path(), Some(&path), found)?,
            Ok(_) => keep(layout, &path, found),
            Err(_) => {}
        }
    }
    Ok(())
}

fn keep(layout: &Layout, path: &StorePath, found: &mut Vec<(StorePath, Metadata)>) {
    if let Some(meta) = layout.existing(path).ok().and_then(|file| file.metadata().ok()) {
        found.push((path.clone(), meta));
    }
}
