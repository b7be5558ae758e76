//! A directory of this machine with models in it: a mounted disk, a share, what somebody brought along.

use std::io::SeekFrom;
use std::path::PathBuf;

use async_trait::async_trait;
use tokio::io::AsyncSeekExt;

use super::job::Job;
use super::part::Part;
use super::pour::{Spilled, pour};
use super::source::{Source, SourceError};

/// `DIR/<model>/<file>`, only ever read.
pub(super) struct DirectorySource {
    dir: PathBuf,
}

impl DirectorySource {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    async fn copy(&self, job: &Job, part: &Part) -> Result<(), SourceError> {
        // Copying anew is as quick as reading what is there, and right in any case.
        if !part.is_full() || part.check().is_err() {
            part.restart().await?;
            let path = self.dir.join(&job.model).join(&part.wanted().name);
            let unreadable = |e: std::io::Error| SourceError::unusable(format!("{}: {e}", path.display()));
            let mut file = tokio::fs::File::open(&path).await.map_err(unreadable)?;
            let length = file.seek(SeekFrom::End(0)).await.map_err(unreadable)?;
            file.rewind().await.map_err(unreadable)?;
            match pour(crate::range::read(file, length, format!("reading {}", path.display())), part).await {
                Ok(()) => {}
                Err(Spilled::Broken(error)) => return Err(SourceError::unusable(error.to_string())),
                Err(Spilled::Refused(error)) => return Err(error.into()),
            }
        }
        job.complete(part).await
    }
}

#[async_trait]
impl Source for DirectorySource {
    fn name(&self) -> String {
        format!("directory {}", self.dir.display())
    }

    async fn fetch(&self, job: &Job) -> Result<(), SourceError> {
        for wanted in job.missing() {
            let part = job.open(&wanted).await?;
            let outcome = self.copy(job, &part).await;
            if outcome.is_err() {
                job.set_aside(&part);
            }
            outcome?;
        }
        Ok(())
    }
}
