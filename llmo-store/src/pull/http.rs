//! Receiving one file over HTTP, resuming where the connection broke.

use std::time::Duration;

use llmo_core::store::StoreError;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, RANGE};
use reqwest::{Client, StatusCode, redirect};

use super::job::Job;
use super::options::PullOptions;
use super::part::Part;
use super::pour::{Spilled, pour};
use super::source::SourceError;

const MAX_REDIRECTS: usize = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A client that gives up quickly and never leaves HTTPS once it was there.
pub(super) fn client(options: &PullOptions) -> Result<Client, SourceError> {
    let redirects = redirect::Policy::custom(|attempt| {
        let downgraded = attempt.url().scheme() != "https" && attempt.previous().iter().any(|u| u.scheme() == "https");
        if downgraded {
            attempt.error("a redirect leads from https to http")
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else {
            attempt.follow()
        }
    });
    Client::builder()
        .user_agent(concat!("llmo/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.stall_timeout)
        .redirect(redirects)
        .build()
        .map_err(|e| SourceError::unusable(format!("no HTTP client: {}", innermost(&e))))
}

/// How one transfer ended badly.
enum Broken {
    /// Trying again may help.
    Transient(String),
    /// It won't.
    Final(SourceError),
}

impl<E: Into<SourceError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Final(error.into())
    }
}

/// Completes `part` from `url`.
pub(super) async fn receive(
    client: &Client,
    url: &str,
    job: &Job,
    part: &Part,
    retries: u32,
) -> Result<(), SourceError> {
    let had_some = part.offset() > 0;
    complete(client, url, part, retries).await?;
    match job.complete(part).await {
        // What an earlier pull left was not the beginning of this file. Once more, all of it.
        Err(SourceError::Unusable { .. }) if had_some => {
            complete(client, url, part, retries).await?;
            job.complete(part).await
        }
        outcome => outcome,
    }
}

async fn complete(client: &Client, url: &str, part: &Part, retries: u32) -> Result<(), SourceError> {
    let mut tag = None;
    let mut idle = 0;
    while !part.is_full() {
        let before = part.offset();
        match transfer(client, url, part, &mut tag).await {
            Ok(()) => return Ok(()),
            Err(Broken::Final(error)) => return Err(error),
            Err(Broken::Transient(reason)) => {
                idle = if part.offset() > before { 0 } else { idle + 1 };
                if idle > retries {
                    return Err(SourceError::unusable(reason));
                }
                tracing::debug!(url, reason, offset = part.offset(), "the transfer broke; resuming");
                tokio::time::sleep(FIRST_PAUSE * 2u32.saturating_pow(idle.min(5))).await;
            }
        }
    }
    Ok(())
}

/// One request, from where the part ends.
async fn transfer(client: &Client, url: &str, part: &Part, tag: &mut Option<String>) -> Result<(), Broken> {
    // Without a pinned hash only the server's own tag can tell whether this is still the same file.
    if part.wanted().sha256.is_none() && tag.is_none() && part.offset() > 0 {
        part.restart().await?;
    }
    let offset = part.offset();
    let mut request = client.get(url);
    if offset > 0 {
        request = request.header(RANGE, format!("bytes={offset}-"));
        if let Some(tag) = tag.as_deref() {
            request = request.header(IF_RANGE, tag);
        }
    }
    let response = request.send().await.map_err(|error| unsent(&error))?;
    match response.status() {
        StatusCode::OK if offset > 0 => part.restart().await?,
        StatusCode::OK => {}
        StatusCode::PARTIAL_CONTENT if starts_at(response.headers()) == Some(offset) => {}
        // The part is longer than the file, or the server counts in its own way.
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            part.restart().await?;
            return Err(Broken::Transient("the server does not resume this file".to_owned()));
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Err(Broken::Transient(format!("it answered {status}")));
        }
        status => return Err(Broken::Final(SourceError::unusable(format!("it answered {status}")))),
    }
    if let (Some(length), Some(expected)) = (response.content_length(), part.wanted().size)
        && part.offset() + length != expected
    {
        // Said before a hundred megabytes of it have come.
        let actual = part.offset() + length;
        return Err(StoreError::SizeMismatch { path: part.wanted().name.clone(), expected, actual }.into());
    }
    *tag = strong_tag(response.headers());
    match pour(response.bytes_stream(), part).await {
        Ok(()) => Ok(()),
        Err(Spilled::Broken(error)) => Err(Broken::Transient(format!("the transfer broke: {}", innermost(&error)))),
        Err(Spilled::Refused(error)) => Err(error.into()),
    }
}

fn unsent(error: &reqwest::Error) -> Broken {
    let reason = innermost(error);
    if error.is_connect() {
        // No network, no such host, nobody there: waiting would only keep the next source from its turn.
        return Broken::Final(SourceError::with_remedy(
            format!("no connection: {reason}"),
            "connect this machine to the network (or set HTTPS_PROXY, or HF_ENDPOINT to a mirror of the hub)",
        ));
    }
    if error.is_redirect() || error.is_builder() {
        return Broken::Final(SourceError::unusable(reason));
    }
    Broken::Transient(if error.is_timeout() { "it did not answer in time".to_owned() } else { reason })
}

fn starts_at(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.parse().ok()
}

fn strong_tag(headers: &HeaderMap) -> Option<String> {
    headers.get(ETAG)?.to_str().ok().filter(|tag| !tag.starts_with("W/")).map(str::to_owned)
}

/// The cause that says most: reqwest's own text only repeats the URL.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
