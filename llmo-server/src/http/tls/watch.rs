//! Certificate files that are read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::{CertificatePair, Certificates, PairError};

/// Certificate and key in files.
#[derive(Debug)]
pub struct WatchedFiles {
    cert: PathBuf,
    key: PathBuf,
    /// What they held when they were looked at last. By content: a renewed file may be as long and, through a link, as old.
    seen: Option<(Vec<u8>, Vec<u8>)>,
    /// Why that is not used.
    problem: Option<String>,
}

impl WatchedFiles {
    /// Reads both and installs them.
    ///
    /// # Errors
    /// [`PairError`]: a server should not start with what is no good.
    pub fn open(cert: &Path, key: &Path, certificates: &Certificates) -> Result<Self, PairError> {
        certificates.install(CertificatePair::read(cert, key, SystemTime::now())?);
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), seen: contents(cert, key), problem: None })
    }

    /// Looks once; installs what has changed and is good, and returns whether there was such a thing. Logs no more than once
    /// about what is no good.
    ///
    /// # Errors
    /// What is wrong with the files as they are. The old pair stays.
    pub fn look(&mut self, certificates: &Certificates) -> Result<bool, String> {
        let now = contents(&self.cert, &self.key);
        if now == self.seen {
            return self.problem.clone().map_or(Ok(false), Err);
        }
        let read = match &now {
            Some((cert, key)) => CertificatePair::from_pem(cert, key, SystemTime::now()),
            // Says which of the two can't be read, and why.
            None => CertificatePair::read(&self.cert, &self.key, SystemTime::now()),
        };
        self.seen = now;
        self.problem = None;
        match read {
            Ok(pair) => {
                let left = pair.not_after().duration_since(SystemTime::now()).unwrap_or_default();
                certificates.install(pair);
                tracing::info!(cert = %self.cert.display(), days_left = left.as_secs() / 86_400, "a new certificate is in use");
                Ok(true)
            }
            Err(error) => {
                certificates.refused();
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(cert = %self.cert.display(), %error, source, "the new certificate is not used; the old one stays");
                let problem = source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
                self.problem = Some(problem.clone());
                Err(problem)
            }
        }
    }

    /// Looks every `interval`, for ever. Others may look in between.
    pub async fn watch(files: Arc<Mutex<Self>>, certificates: Arc<Certificates>, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            // Two small files: no reason for a thread of their own. What is wrong has been logged.
            let _ = files.lock().look(&certificates);
        }
    }
}

fn contents(cert: &Path, key: &Path) -> Option<(Vec<u8>, Vec<u8>)> {
    Some((std::fs::read(cert).ok()?, std::fs::read(key).ok()?))
}
