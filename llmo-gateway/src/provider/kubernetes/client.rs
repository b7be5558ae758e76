//! The two questions to the Kubernetes API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::lines::Lines;
use super::slices::{Change, EndpointSlice, Metadata, Service, Slices};
use crate::provider::SourceLost;

/// Longest wait for the beginning of an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// The server ends a watch after this time…
const WATCH_SECONDS: u64 = 290;
/// …and one that says nothing for longer is dead.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS + 20);
/// Slices in one answer; more come page by page.
const PAGE: &str = "500";

/// The API, as a pod sees it.
pub(super) struct Api {
    client: reqwest::Client,
    base: String,
    token: PathBuf,
}

#[derive(Deserialize)]
struct List {
    metadata: ListMetadata,
    #[serde(default)]
    items: Vec<EndpointSlice>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    r#continue: String,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

/// What a watch tells.
pub(super) enum Watched {
    Change(Box<Change>),
    Bookmark(String),
    End,
    TooOld,
}

/// A running watch.
pub(super) struct Events(Lines);

impl Api {
    pub(super) fn new(api: &str, credentials: &Path) -> Result<Self, String> {
        let base = if api.is_empty() { in_cluster()? } else { api.trim_end_matches('/').to_owned() };
        let mut client = reqwest::Client::builder().no_proxy().connect_timeout(PATIENCE).read_timeout(SILENCE);
        // A cluster signs its own certificate. Where the file is not, the system's authorities hold.
        if let Ok(pem) = std::fs::read(credentials.join("ca.crt")) {
            let wrong = |error| format!("{}/ca.crt is no certificate: {error}", credentials.display());
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(wrong)?;
            client = client.tls_certs_only(certificates);
        }
        let client = client.build().map_err(|error| format!("no client of the Kubernetes API can be made: {error}"))?;
        Ok(Self { client, base, token: credentials.join("token") })
    }

    /// All slices of a service, and the version from which to watch.
    pub(super) async fn list(&self, service: &Service) -> Result<(Slices, String), SourceLost> {
        let (mut items, mut page) = (Vec::new(), String::new());
        loop {
            let answer = self.get(service, &[("limit", PAGE), ("continue", &page)]).await?;
            let body = tokio::time::timeout(PATIENCE, answer.bytes()).await;
            let body =
                body.map_err(|_| self.lost("the list does not end"))?.map_err(|error| self.lost(&error.to_string()))?;
            let list: List = serde_json::from_slice(&body).map_err(|error| self.lost(&format!("odd list: {error}")))?;
            items.extend(list.items);
            page = list.metadata.r#continue;
            if page.is_empty() {
                return Ok((Slices::new(items), list.metadata.resource_version));
            }
        }
    }

    pub(super) async fn watch(&self, service: &Service, version: &str) -> Result<Events, SourceLost> {
        let seconds = WATCH_SECONDS.to_string();
        let query = [
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", &seconds),
        ];
        Ok(Events(Lines::of(self.get(service, &query).await?)))
    }

    async fn get(&self, service: &Service, query: &[(&str, &str)]) -> Result<reqwest::Response, SourceLost> {
        let path = format!("{}/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", self.base, service.namespace);
        let mut url = reqwest::Url::parse(&path).map_err(|error| self.lost(&error.to_string()))?;
        url.query_pairs_mut()
            .append_pair("labelSelector", &format!("kubernetes.io/service-name={}", service.service))
            .extend_pairs(query.iter().filter(|(_, value)| !value.is_empty()));
        let mut request = self.client.get(url);
        // Read every time: the kubelet replaces it long before it ends.
        if let Ok(token) = tokio::fs::read_to_string(&self.token).await {
            request = request.bearer_auth(token.trim());
        }
        let answer = tokio::time::timeout(PATIENCE, request.send()).await;
        let answer = answer.map_err(|_| self.lost("no answer"))?.map_err(|error| self.lost(&cause(&error)))?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status if matches!(status.as_u16(), 401 | 403) => Err(self.lost(&format!(
                "{status}: the service account needs list and watch on endpointslices (discovery.k8s.io) in {:?}",
                service.namespace
            ))),
            status => Err(self.lost(&status.to_string())),
        }
    }

    fn lost(&self, what: &str) -> SourceLost {
        SourceLost(format!("Kubernetes at {}: {what}", self.base))
    }
}

impl Events {
    pub(super) async fn next(&mut self) -> Result<Watched, SourceLost> {
        let odd = |what: String| SourceLost(format!("Kubernetes: odd watch: {what}"));
        let line = match self.0.next().await {
            Ok(Some(line)) => line,
            // A watch that breaks begins again; if the server is gone, that fails.
            Ok(None) | Err(_) => return Ok(Watched::End),
        };
        let event: Event = serde_json::from_slice(&line).map_err(|error| odd(error.to_string()))?;
        let slice = || serde_json::from_value(event.object.clone()).map_err(|error| odd(error.to_string()));
        Ok(match event.kind.as_str() {
            "ADDED" | "MODIFIED" => Watched::Change(Box::new(Change::Is(slice()?))),
            "DELETED" => Watched::Change(Box::new(Change::Gone(slice()?))),
            "BOOKMARK" => {
                let metadata = serde_json::from_value(event.object["metadata"].clone());
                let metadata: Metadata = metadata.map_err(|error| odd(error.to_string()))?;
                Watched::Bookmark(metadata.resource_version)
            }
            "ERROR" if event.object["code"] == 410 => Watched::TooOld,
            _ => return Err(odd(event.object["message"].as_str().unwrap_or(&event.kind).to_owned())),
        })
    }
}

fn in_cluster() -> Result<String, String> {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (host, port) = set("KUBERNETES_SERVICE_HOST").zip(set("KUBERNETES_SERVICE_PORT")).ok_or(
        "discovery.kubernetes is set, but this is no pod (KUBERNETES_SERVICE_HOST is missing); set discovery.kubernetes_api",
    )?;
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(format!("https://{host}:{port}"))
}

fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
