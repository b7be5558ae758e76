//! The model hub: files of a repository at a revision, over HTTPS.

use async_trait::async_trait;

use super::http;
use super::job::Job;
use super::options::PullOptions;
use super::source::{Source, SourceError};
use crate::catalogue::SourceEntry;

/// One repository of a hub.
pub(super) struct HubSource {
    base: String,
    entry: SourceEntry,
    options: PullOptions,
}

impl HubSource {
    pub(super) fn new(entry: SourceEntry, repo: &str, revision: &str, options: &PullOptions) -> Self {
        let endpoint = options.hub_endpoint.trim_end_matches('/');
        Self { base: format!("{endpoint}/{repo}/resolve/{revision}"), entry, options: options.clone() }
    }
}

#[async_trait]
impl Source for HubSource {
    fn name(&self) -> String {
        format!("hub {}", self.base)
    }

    async fn fetch(&self, job: &Job) -> Result<(), SourceError> {
        let client = http::client(&self.options)?;
        for wanted in job.missing() {
            if wanted.sha256.is_none() && !self.base.starts_with("https://") {
                return Err(SourceError::unusable(format!(
                    "{} has no pinned sha256, and this is not https",
                    wanted.name
                )));
            }
            let url = format!("{}/{}", self.base, self.entry.location(&wanted.name));
            let part = job.open(&wanted).await?;
            let outcome = http::receive(&client, &url, job, &part, self.options.retries).await;
            if outcome.is_err() {
                job.set_aside(&part);
            }
            outcome?;
        }
        Ok(())
    }
}
