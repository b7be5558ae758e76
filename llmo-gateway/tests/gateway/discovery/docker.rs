//! Containers, over a unix socket that answers as Docker's does.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use llmo_gateway::provider::docker::DockerProvider;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Watching;

/// As `GET /containers/json` of Docker 20.10 answers, with what does not matter here left in.
fn container(id: &str, name: &str, ip: &str, labels: &Value) -> Value {
    json!({
        "Id": id, "Names": [format!("/{name}")], "Image": "llmo/model-service", "ImageID": "sha256:4f5c2", "Command": "llmo-server model",
        "Created": 1795472127, "Labels": labels, "State": "running", "Status": "Up 3 seconds (health: starting)",
        "Ports": [{"PrivatePort": 8081, "Type": "tcp"}, {"IP": "127.0.0.1", "PrivatePort": 8081, "PublicPort": 49153, "Type": "tcp"}],
        "HostConfig": {"NetworkMode": "llmo_default"}, "Mounts": [],
        "NetworkSettings": {"Networks": {"llmo_default": {
            "IPAMConfig": null, "Links": null, "Aliases": null, "NetworkID": "9d9f", "EndpointID": "a1b2", "Gateway": "172.18.0.1",
            "IPAddress": ip, "IPPrefixLen": 16, "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
            "MacAddress": "02:42:ac:12:00:02", "DriverOpts": null}}},
    })
}

/// As a line of `GET /events` looks.
fn event(action: &str, id: &str) -> Bytes {
    let line = json!({"status": action, "id": id, "from": "llmo/model-service", "Type": "container", "Action": action,
        "Actor": {"ID": id, "Attributes": {"llmo.enable": "true"}}, "scope": "local", "time": 1795472128, "timeNano": 1795472128123456789_u64});
    Bytes::from(line.to_string() + "\n")
}

#[derive(Clone)]
struct Daemon {
    containers: Arc<Mutex<Vec<Value>>>,
    events: broadcast::Sender<Bytes>,
}

impl Daemon {
    fn new() -> Self {
        Self { containers: Arc::default(), events: broadcast::Sender::new(16) }
    }

    /// Listens at `socket` until the guard is dropped, which breaks every connection.
    fn listen(&self, socket: &std::path::Path) -> DropGuard {
        let _ = std::fs::remove_file(socket);
        // A listener belongs to the runtime that it is made in, and this one dies with all its connections.
        let listener = std::os::unix::net::UnixListener::bind(socket).expect("a socket");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let app = Router::new()
            .route("/containers/json", get(containers))
            .route("/events", get(events))
            .with_state(self.clone());
        let end = CancellationToken::new();
        let ended = end.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = UnixListener::from_std(listener).expect("a listener");
                tokio::select! {
                    served = axum::serve(listener, app).into_future() => served.expect("it serves"),
                    () = ended.cancelled() => {}
                }
            });
        });
        end.drop_guard()
    }

    fn set(&self, containers: Vec<Value>, happened: Bytes) {
        *self.containers.lock() = containers;
        let _ = self.events.send(happened);
    }
}

async fn containers(State(daemon): State<Daemon>, RawQuery(query): RawQuery) -> Json<Value> {
    assert!(query.expect("filters").contains("llmo.enable"));
    Json(Value::Array(daemon.containers.lock().clone()))
}

async fn events(State(daemon): State<Daemon>) -> Body {
    let events = daemon.events.subscribe();
    Body::from_stream(futures::stream::unfold(events, |mut events| async move {
        let event = events.recv().await.ok()?;
        Some((Ok::<_, std::convert::Infallible>(event), events))
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_come_and_go_with_events_and_stay_while_docker_is_away() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("docker.sock");
    let daemon = Daemon::new();
    let on = json!({"llmo.enable": "true", "com.docker.compose.service": "model-service"});
    let (one, two) = (
        container("c1", "llmo-model-service-1", "172.18.0.2", &on),
        container("c2", "llmo-model-service-2", "172.18.0.3", &on),
    );
    daemon.set(vec![one.clone()], event("start", "c1"));
    let running = daemon.listen(&socket);
    let watching = Watching::start(DockerProvider::new(&socket, None));
    watching.until(&["http://172.18.0.2:8081"]).await;

    daemon.set(vec![two.clone(), one.clone()], event("start", "c2"));
    watching.until(&["http://172.18.0.2:8081", "http://172.18.0.3:8081"]).await;
    daemon.set(vec![two.clone()], event("die", "c1"));
    watching.until(&["http://172.18.0.3:8081"]).await;

    drop(running);
    watching.until_problem("docker.sock").await;
    assert_eq!(watching.urls(), ["http://172.18.0.3:8081"]);
    // While nobody watched, something changed.
    *daemon.containers.lock() = vec![two, one];
    let _running = daemon.listen(&socket);
    watching.until(&["http://172.18.0.2:8081", "http://172.18.0.3:8081"]).await;
    assert_eq!(watching.problem(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_with_wrong_labels_is_left_out_and_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("docker.sock");
    let daemon = Daemon::new();
    let bad = json!({"llmo.enable": "true", "llmo.port": "eighty"});
    let containers = vec![
        container("c1", "good", "172.18.0.2", &json!({"llmo.enable": "true", "llmo.weight": "4"})),
        container("c2", "bad", "172.18.0.3", &bad),
    ];
    daemon.set(containers, event("start", "c1"));
    let _running = daemon.listen(&socket);
    let watching = Watching::start(DockerProvider::new(&socket, None));
    watching.until(&["http://172.18.0.2:8081"]).await;
    let problem = watching.until_problem("llmo.port").await;
    assert!(problem.contains("container bad") && problem.contains("eighty"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_not_there_is_told_with_the_setting() {
    let dir = tempfile::tempdir().expect("a directory");
    let watching = Watching::start(DockerProvider::new(&dir.path().join("none.sock"), None));
    let problem = watching.until_problem("none.sock").await;
    assert!(problem.contains("discovery.docker"), "{problem}");
}
