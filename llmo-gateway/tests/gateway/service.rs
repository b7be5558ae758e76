//! A simulated model service behind a real socket, which can be killed like a process and started again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use llmo_backends::sim::{SimModel, SimOptions};
use llmo_core::Model;
use llmo_core::model::SingleModel;
use llmo_server::frontend::{self, FrontendOptions};
use llmo_server::http::{ServeOptions, serve};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// A model service with a runtime of its own.
pub(crate) struct Service {
    pub(crate) sim: Arc<SimModel>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Service {
    /// Starts on a free port.
    pub(crate) async fn start(options: SimOptions) -> Self {
        let sim = Arc::new(SimModel::new(options));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut service = Self { sim, address: any, runtime: None };
        service.start_again().await;
        service
    }

    /// Starts on the port it had before.
    pub(crate) async fn start_again(&mut self) {
        let listener = loop {
            match std::net::TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                // The port is free as soon as the old runtime is gone.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        self.address = listener.local_addr().expect("bound");
        let models = Arc::new(SingleModel::new(Arc::clone(&self.sim) as _));
        let app = frontend::router_with(models, FrontendOptions::default(), status(Arc::clone(&self.sim)));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            serve(listener, app, ServeOptions::default(), CancellationToken::new()).await
        });
        self.runtime = Some(runtime);
    }

    /// Dies like a killed process: nothing is finished, every socket closes.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn id(&self) -> String {
        self.address.to_string()
    }
}

/// What a model service tells a gateway.
fn status(sim: Arc<SimModel>) -> Router {
    let answer = move || {
        let model = json!({"info": sim.info(), "load": sim.load()});
        async move { Json(json!({"ready": true, "reasons": [], "models": [model]})) }
    };
    Router::new().route("/internal/status", get(answer))
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}
