//! One health check.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use http::StatusCode;

use super::report;
use crate::replica::{ProbeOutcome, Replica};

/// Largest answer that is read.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Asks a replica how it is.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Asks once, and does not take longer than a health check may.
    async fn check(&self, replica: &Replica) -> ProbeOutcome;

    /// Host and port whose connections close when the replica dies, if it is a process of its own.
    fn wire(&self, replica: &Replica) -> Option<(String, u16)> {
        let _ = replica;
        None
    }
}

/// Asks over HTTP: `/internal/status` of an llmo model service; an upstream that has no such path is asked for
/// `/v1/models` instead. One instance belongs to one replica: it remembers which of the two works.
pub struct HttpProbe {
    client: reqwest::Client,
    timeout: Duration,
    plain: AtomicBool,
}

impl HttpProbe {
    /// Asks with this client, and waits so long for each answer.
    #[must_use]
    pub fn new(client: reqwest::Client, timeout: Duration) -> Self {
        Self { client, timeout, plain: AtomicBool::new(false) }
    }

    async fn ask(&self, replica: &Replica) -> Result<ProbeOutcome, Failure> {
        if !self.plain.load(Ordering::Relaxed) {
            match self.get(replica, "/internal/status").await {
                Ok(body) => {
                    replica.seems_to_take_extensions(true);
                    return report::status(&body).map_err(|e| Failure::late(format!("odd status: {e}")));
                }
                Err(Failure { status: Some(status), .. }) if no_such_path(status) => {}
                Err(failure) => return Err(failure),
            }
        }
        let body = self.get(replica, "/v1/models").await?;
        let (outcome, extensions) =
            report::model_list(&body).map_err(|e| Failure::late(format!("odd list of models: {e}")))?;
        replica.seems_to_take_extensions(extensions);
        self.plain.store(true, Ordering::Relaxed);
        Ok(outcome)
    }

    async fn get(&self, replica: &Replica, path: &str) -> Result<Vec<u8>, Failure> {
        let url = format!("{}{path}", replica.base_url());
        let request = self.client.get(url);
        let request = match replica.access().key() {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let answer = request.send().await.map_err(Failure::from)?;
        if !answer.status().is_success() {
            let status = answer.status();
            return Err(Failure { reason: format!("{path} answers {status}"), gone: false, status: Some(status) });
        }
        let mut body = Vec::new();
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            body.extend_from_slice(&piece.map_err(Failure::from)?);
            if body.len() > MAX_BODY_BYTES {
                return Err(Failure::late(format!("{path} answers more than {MAX_BODY_BYTES} bytes")));
            }
        }
        Ok(body)
    }
}

#[async_trait]
impl Probe for HttpProbe {
    async fn check(&self, replica: &Replica) -> ProbeOutcome {
        let failure = match tokio::time::timeout(self.timeout, self.ask(replica)).await {
            Ok(Ok(outcome)) => return outcome,
            Ok(Err(failure)) => failure,
            Err(_) => Failure::late(format!("no answer within {} ms", self.timeout.as_millis())),
        };
        // Whatever comes up at this address next may be something else.
        self.plain.store(false, Ordering::Relaxed);
        ProbeOutcome::Unreachable { reason: failure.reason, gone: failure.gone }
    }

    fn wire(&self, replica: &Replica) -> Option<(String, u16)> {
        let url = reqwest::Url::parse(replica.base_url()).ok()?;
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some((host, url.port_or_known_default()?))
    }
}

struct Failure {
    reason: String,
    gone: bool,
    status: Option<StatusCode>,
}

impl Failure {
    fn late(reason: String) -> Self {
        Self { reason, gone: false, status: None }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        // The innermost cause is what a person needs ("connection refused"); the outer texts repeat the URL, which
        // may hold credentials.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let reason = if std::ptr::addr_eq(cause, &raw const error) {
            "the request failed".to_owned()
        } else {
            cause.to_string()
        };
        // A process that dies between accepting and answering resets the connection: gone as well.
        Self { reason, gone: (error.is_connect() || error.is_request()) && !error.is_timeout(), status: None }
    }
}

/// A service that has no status page answers one of these; anything else is its own trouble.
fn no_such_path(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    )
}
