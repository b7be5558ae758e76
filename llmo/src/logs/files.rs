//! Logs that are files: one for each service, `NAME.log`.

use std::path::{Path, PathBuf};

use super::tail::Tail;
use super::{Line, Source, line};
use crate::error::{CliError, Result};

/// The log of each service, with its name.
pub(super) struct Files(Vec<(String, Tail)>);

impl Files {
    /// Of these services; none: all.
    ///
    /// # Errors
    /// [`CliError::Message`] if there are no logs.
    pub(super) fn open(dir: &Path, services: &[String]) -> Result<Self> {
        let found = files(dir, services)?;
        Ok(Self(found.into_iter().map(|(name, path)| (name, Tail::new(path))).collect()))
    }
}

impl Source for Files {
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }

    fn read(&mut self, take: &mut dyn FnMut(Line<'_>)) -> Result {
        for (source, (_, tail)) in self.0.iter_mut().enumerate() {
            tail.read(|text| take(Line { source, time: line::time(text), text }));
        }
        Ok(())
    }
}

fn files(dir: &Path, services: &[String]) -> Result<Vec<(String, PathBuf)>> {
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_else(|_| Vec::<PathBuf>::new())
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)))
        .collect();
    found.sort();
    let there: Vec<_> = found.iter().map(|(name, _)| name.clone()).collect();
    if let Some(missing) = services.iter().find(|service| !there.contains(service)) {
        let known = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        return Err(CliError::Message(format!(
            "there is no log of {missing:?} in {}; there are: {known}",
            dir.display()
        )));
    }
    if !services.is_empty() {
        found.retain(|(name, _)| services.contains(name));
    }
    if found.is_empty() {
        let text = format!(
            "no logs in {}; start the stack (./run_microservices.sh run), or name another directory with --dir",
            dir.display()
        );
        return Err(CliError::Message(text));
    }
    Ok(found)
}
