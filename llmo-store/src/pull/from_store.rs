//! Another store: the storage service that a new model service gets its weights from, or a bucket.

use std::sync::Arc;

use async_trait::async_trait;
use llmo_core::store::{GetOptions, Store, StoreError, StorePath};

use super::job::Job;
use super::part::Part;
use super::pour::{Spilled, pour};
use super::source::{Source, SourceError};

/// A store that has models under the same paths.
pub(super) struct StoreSource {
    store: Arc<dyn Store>,
    name: String,
}

impl StoreSource {
    pub(super) fn new(store: Arc<dyn Store>, name: String) -> Self {
        Self { store, name }
    }
}

#[async_trait]
impl Source for StoreSource {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn fetch(&self, job: &Job) -> Result<(), SourceError> {
        for wanted in job.missing() {
            let path = StorePath::new(format!("{}/{}", job.model, wanted.name))?;
            let part = job.open(&wanted).await?;
            let had_some = part.offset() > 0;
            let outcome = match self.receive(job, &path, &part).await {
                // What was here was not the beginning of this file. Once more, all of it.
                Err(SourceError::Unusable { .. }) if had_some => {
                    part.restart().await?;
                    self.receive(job, &path, &part).await
                }
                outcome => outcome,
            };
            if outcome.is_err() {
                job.set_aside(&part);
            }
            outcome?;
        }
        Ok(())
    }
}

impl StoreSource {
    async fn receive(&self, job: &Job, path: &StorePath, part: &Part) -> Result<(), SourceError> {
        if !part.is_full() {
            let object = self.store.get(path, GetOptions::from(part.offset())).await.map_err(theirs)?;
            match pour(object.data, part).await {
                Ok(()) => {}
                Err(Spilled::Broken(error)) => return Err(theirs(error)),
                Err(Spilled::Refused(error)) => return Err(error.into()),
            }
        }
        job.complete(part).await
    }
}

/// A fault of the other store is no reason to give up: its disk is not ours.
fn theirs(error: StoreError) -> SourceError {
    SourceError::unusable(error.to_string())
}
