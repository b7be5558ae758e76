//! EndpointSlices, from a server that lists and watches as the Kubernetes API does.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use llmo_gateway::provider::kubernetes::KubernetesProvider;
use llmo_server::http::tls::{CertificatePair, Certificates, Tls};
use llmo_server::http::{self, ServeOptions};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::Watching;

const PATH: &str = "/apis/discovery.k8s.io/v1/namespaces/llm/endpointslices";

/// A slice as the API has it.
fn slice(name: &str, version: u64, endpoints: &[(&str, bool)]) -> Value {
    let endpoint = |(ip, ready): &(&str, bool)| {
        json!({"addresses": [ip], "conditions": {"ready": ready, "serving": ready, "terminating": !ready},
            "nodeName": "node-1", "targetRef": {"kind": "Pod", "name": format!("models-{ip}"), "namespace": "llm", "uid": "8f1c"}})
    };
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "namespace": "llm", "resourceVersion": version.to_string(), "generation": 3,
            "labels": {"kubernetes.io/service-name": "models", "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": [{"name": "http", "port": 8081, "protocol": "TCP"}]})
}

#[derive(Clone)]
struct Api(Arc<Mutex<Cluster>>);

struct Cluster {
    slices: Vec<Value>,
    version: u64,
    events: broadcast::Sender<Option<Bytes>>,
    lists: u32,
    watches: Vec<String>,
    token: String,
}

impl Api {
    fn new() -> Self {
        let state = Cluster {
            slices: Vec::new(),
            version: 1,
            events: broadcast::Sender::new(64),
            lists: 0,
            watches: Vec::new(),
            token: "first".into(),
        };
        Self(Arc::new(Mutex::new(state)))
    }

    fn router(&self) -> Router {
        Router::new().route(PATH, get(answer)).with_state(self.clone())
    }

    async fn start() -> (Self, String) {
        let api = Self::new();
        let listener = listener().await;
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let app = api.router();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (api, url)
    }

    /// The same over TLS; also the certificate of the authority that signed the server's.
    async fn start_secured() -> (Self, String, String) {
        let mut authority = CertificateParams::new(Vec::new()).expect("no names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(authority, authority_key).expect("a certificate");
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let leaf = leaf.signed_by(&key, &authority).expect("a certificate");
        let pair = CertificatePair::from_pem(leaf.pem().as_bytes(), key.serialize_pem().as_bytes(), SystemTime::now());
        let certificates = Arc::new(Certificates::default());
        certificates.install(pair.expect("a good pair"));
        let mut options = ServeOptions::default();
        options.tls = Some(Tls::new(certificates).expect("both versions"));
        let (api, listener) = (Self::new(), listener().await);
        let url = format!("https://{}", listener.local_addr().expect("bound"));
        tokio::spawn(http::serve(listener, api.router(), options, CancellationToken::new()));
        (api, url, authority.pem())
    }

    fn tell(&self, kind: &str, object: &Value) {
        let line = Bytes::from(json!({"type": kind, "object": object}).to_string() + "\n");
        let _ = self.0.lock().events.send(Some(line));
    }

    fn end_watches(&self) {
        let _ = self.0.lock().events.send(None);
    }

    fn watches(&self) -> Vec<String> {
        self.0.lock().watches.clone()
    }

    async fn until_watched(&self, times: usize) {
        while self.0.lock().watches.len() < times {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

async fn answer(State(api): State<Api>, Query(query): Query<HashMap<String, String>>, headers: HeaderMap) -> Response {
    let mut state = api.0.lock();
    assert_eq!(query["labelSelector"], "kubernetes.io/service-name=models");
    if headers.get("authorization").and_then(|value| value.to_str().ok()) != Some(&format!("Bearer {}", state.token)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if query.get("watch").is_none_or(|watch| watch != "1") {
        state.lists += 1;
        // Two pages, whatever the limit.
        let (first, rest) = state.slices.split_at(state.slices.len().min(1));
        let (items, more) = if query.contains_key("continue") {
            (rest, "")
        } else {
            (first, if rest.is_empty() { "" } else { "page2" })
        };
        return Json(json!({"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1",
            "metadata": {"resourceVersion": state.version.to_string(), "continue": more}, "items": items}))
        .into_response();
    }
    state.watches.push(query["resourceVersion"].clone());
    let events = state.events.subscribe();
    Body::from_stream(futures::stream::unfold(events, |mut events| async move {
        let line = events.recv().await.ok()??;
        Some((Ok::<_, Infallible>(line), events))
    }))
    .into_response()
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

fn credentials(dir: &Path, token: &str) {
    std::fs::write(dir.join("token"), token).expect("a file");
    std::fs::write(dir.join("namespace"), "llm").expect("a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_listed_watched_and_listed_again_when_the_watch_came_too_late() {
    let dir = tempfile::tempdir().expect("a directory");
    credentials(dir.path(), "first\n");
    let (api, url) = Api::start().await;
    api.0.lock().slices = vec![slice("a", 5, &[("10.0.0.1", true)]), slice("b", 6, &[("10.0.0.2", false)])];
    api.0.lock().version = 7;
    let watching = Watching::start(KubernetesProvider::new("models:http", &url, dir.path()).expect("good settings"));
    watching.until(&["http://10.0.0.1:8081"]).await;
    api.until_watched(1).await;

    api.tell("MODIFIED", &slice("b", 8, &[("10.0.0.2", true)]));
    watching.until(&["http://10.0.0.1:8081", "http://10.0.0.2:8081"]).await;
    api.tell("DELETED", &slice("a", 9, &[]));
    watching.until(&["http://10.0.0.2:8081"]).await;
    api.tell("BOOKMARK", &json!({"kind": "EndpointSlice", "metadata": {"resourceVersion": "15"}}));

    // The server ends watches now and then; the token was replaced meanwhile.
    api.0.lock().token = "second".into();
    credentials(dir.path(), "second");
    api.end_watches();
    api.until_watched(2).await;
    assert_eq!(api.watches(), ["7", "15"]);

    api.0.lock().slices = vec![slice("c", 20, &[("10.0.0.3", true)])];
    api.tell(
        "ERROR",
        &json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 15 (20)"}),
    );
    watching.until(&["http://10.0.0.3:8081"]).await;
    assert_eq!(watching.problem(), None);
    assert_eq!(api.0.lock().lists, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_and_nothing_is_taken_away() {
    let dir = tempfile::tempdir().expect("a directory");
    credentials(dir.path(), "first");
    let (api, url) = Api::start().await;
    api.0.lock().slices = vec![slice("a", 5, &[("10.0.0.1", true)])];
    let watching =
        Watching::start(KubernetesProvider::new("llm/models:8081", &url, dir.path()).expect("good settings"));
    watching.until(&["http://10.0.0.1:8081"]).await;
    api.until_watched(1).await;
    api.0.lock().token = "another".into();
    api.end_watches();
    let problem = watching.until_problem("401").await;
    assert!(problem.contains("endpointslices") && problem.contains("\"llm\""), "{problem}");
    assert_eq!(watching.urls(), ["http://10.0.0.1:8081"]);
    let outside = KubernetesProvider::new("models:http", "", dir.path());
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        assert!(outside.err().expect("this is no pod").contains("discovery.kubernetes_api"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_signs_its_own_certificate_is_believed_by_its_ca_file_and_no_other() {
    let dir = tempfile::tempdir().expect("a directory");
    credentials(dir.path(), "first");
    let (api, url, authority) = Api::start_secured().await;
    api.0.lock().slices = vec![slice("a", 5, &[("10.0.0.1", true)])];
    let start = || KubernetesProvider::new("models:http", &url, dir.path()).expect("good settings");
    // The system's authorities know nothing of it.
    let doubting = Watching::start(start());
    doubting.until_problem("certificate").await;
    assert_eq!(api.0.lock().lists, 0, "not a word before the server is known");

    std::fs::write(dir.path().join("ca.crt"), authority).expect("a file");
    let watching = Watching::start(start());
    watching.until(&["http://10.0.0.1:8081"]).await;
    api.until_watched(1).await;
    api.tell("MODIFIED", &slice("a", 6, &[("10.0.0.1", true), ("10.0.0.2", true)]));
    watching.until(&["http://10.0.0.1:8081", "http://10.0.0.2:8081"]).await;
}
