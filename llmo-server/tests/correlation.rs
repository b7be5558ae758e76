//! One request through two services: its id and its trace arrive, and every log line names them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // Clippy knows tests, but not what they call.

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use llmo_backends::remote::{RemoteModel, RemoteOptions};
use llmo_core::model::{
    EmbedRequest, Embeddings, EventStream, GenerateRequest, Load, Model, ModelInfo, Result, SingleModel,
};
use llmo_core::store::{
    self, ByteStream, GetOptions, ObjectMeta, ObjectStream, Store, StoreError, StorePath, StorePutOptions,
};
use llmo_core::trace;
use llmo_server::frontend::{self, FrontendOptions};
use llmo_server::http::ServeOptions;
use llmo_store::remote::{RemoteStore, RemoteStoreOptions};
use parking_lot::Mutex;
use serde_json::json;
use support::Server;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// `traceparent`, `tracestate`, request id.
type Ids = (Option<String>, Option<String>, Option<String>);

/// Notes for what it works.
#[derive(Default)]
struct Noting {
    info: Option<ModelInfo>,
    seen: Mutex<Vec<Ids>>,
}

impl Noting {
    fn note(&self, parent: Option<String>, state: Option<String>) {
        let work = trace::current().expect("handlers run as part of a request");
        self.seen.lock().push((Some(work.request_id.to_string()), parent.or(Some(work.trace.traceparent())), state));
    }
}

#[async_trait]
impl Model for Noting {
    fn info(&self) -> &ModelInfo {
        self.info.as_ref().unwrap()
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        self.note(request.traceparent.clone(), request.tracestate.clone());
        let sim = llmo_backends::sim::SimModel::new(llmo_backends::sim::SimOptions::named("m"));
        sim.generate(request).await
    }

    async fn embed(&self, _: EmbedRequest) -> Result<Embeddings> {
        let state = trace::current().and_then(|work| work.trace.tracestate().map(|state| state.to_string()));
        self.note(None, state);
        Ok(Embeddings::new(vec![vec![1.0]], Default::default()))
    }

    fn load(&self) -> Load {
        Load::idle(1)
    }
}

/// A store without anything in it, that notes for what it works.
#[derive(Debug, Default)]
struct NotingStore(Mutex<Vec<(String, String)>>);

#[async_trait]
impl Store for NotingStore {
    async fn get(&self, path: &StorePath, _: GetOptions) -> store::Result<ObjectStream> {
        Err(StoreError::NotFound(path.to_string()))
    }

    async fn put(&self, path: &StorePath, _: ByteStream, _: StorePutOptions) -> store::Result<ObjectMeta> {
        Err(StoreError::NotFound(path.to_string()))
    }

    async fn head(&self, path: &StorePath) -> store::Result<ObjectMeta> {
        Err(StoreError::NotFound(path.to_string()))
    }

    async fn list(&self, _: Option<&StorePath>) -> store::Result<Vec<ObjectMeta>> {
        let work = trace::current().expect("handlers run as part of a request");
        self.0.lock().push((work.request_id.to_string(), work.trace.traceparent()));
        Ok(Vec::new())
    }

    async fn delete(&self, _: &StorePath) -> store::Result<()> {
        Ok(())
    }

    fn kind(&self) -> &'static str {
        "noting"
    }
}

#[tokio::test]
async fn the_storage_service_is_told_for_which_request_it_is_asked() {
    let noting = Arc::new(NotingStore::default());
    let service = llmo_server::http::layers::standard(llmo_server::services::store::router(
        Arc::clone(&noting) as Arc<dyn Store>
    ));
    let service = Server::start(service, ServeOptions::default()).await;
    let remote = RemoteStore::new(&service.url(""), &RemoteStoreOptions::default()).unwrap();
    let context = trace::TraceContext::parse(PARENT, None).unwrap();
    let work = Arc::new(trace::Work { request_id: "r-8".into(), trace: context });
    trace::scoped(Some(work), remote.list(None)).await.unwrap();
    let (id, parent) = noting.0.lock().pop().unwrap();
    assert_eq!(id, "r-8");
    assert!(parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{parent}");
}

fn info() -> ModelInfo {
    let mut info = ModelInfo::new("m", "remote");
    info.capabilities.generate = true;
    info.capabilities.chat = true;
    info.capabilities.embed = true;
    info
}

#[tokio::test]
async fn ids_and_traces_arrive_where_the_work_is_done() {
    let noting = Arc::new(Noting { info: Some(info()), seen: Mutex::default() });
    let inner = Arc::new(SingleModel::new(Arc::clone(&noting) as Arc<dyn Model>));
    let service = Server::start(frontend::router(inner, FrontendOptions::default()), ServeOptions::default()).await;
    let remote = RemoteModel::new(info(), &service.url(""), RemoteOptions::default()).unwrap();
    let outer = Arc::new(SingleModel::new(Arc::new(remote)));
    let gateway = Server::start(frontend::router(outer, FrontendOptions::default()), ServeOptions::default()).await;

    let client = reqwest::Client::new();
    for (path, body) in [
        (
            "/v1/chat/completions",
            json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}),
        ),
        ("/v1/embeddings", json!({"model": "m", "input": "x"})),
    ] {
        let request = client.post(gateway.url(path)).json(&body).header("x-request-id", "r-7");
        let request = request.header("traceparent", PARENT).header("tracestate", "vendor=x");
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["x-request-id"]), (200, &"r-7".parse().unwrap()));
        let (id, parent, state) = noting.seen.lock().pop().unwrap();
        assert_eq!(id.as_deref(), Some("r-7"), "{path}");
        let parent = parent.unwrap();
        assert!(parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && parent.ends_with("-01"), "{parent}");
        assert!(!parent.contains("00f067aa0ba902b7"), "each service has a span of its own: {parent}");
        assert_eq!(state.as_deref(), Some("vendor=x"), "{path}");
    }

    // Without a caller's trace there is one all the same, and a bad one is replaced.
    for bad in [None, Some("00-zz-zz-01")] {
        let body = json!({"model": "m", "prompt": "x", "max_tokens": 1});
        let mut request = client.post(gateway.url("/v1/completions")).json(&body);
        if let Some(bad) = bad {
            request = request.header("traceparent", bad);
        }
        assert_eq!(request.send().await.unwrap().status(), 200);
        let (_, parent, _) = noting.seen.lock().pop().unwrap();
        assert_eq!(trace::TraceContext::parse(&parent.unwrap(), None).map(|context| context.sampled()), Some(true));
    }
}
