//! What rules may know of a request besides the model that it names.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName};
use llmo_config::TenantFrom;
use llmo_server::frontend::tenant_of;
use llmo_server::http::App;

use super::Routes;

tokio::task_local! {
    /// The request that this task answers. Models are found by name, on the task of the handler.
    static CURRENT: Arc<Facts>;
}

/// Path, tenant and headers of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The path, without a query.
    pub path: String,
    /// The tenant, if one is named.
    pub tenant: Option<String>,
    /// Those headers that any rule looks at, where they are text.
    pub headers: Vec<(HeaderName, String)>,
}

impl Facts {
    /// Takes what rules look at, and only the headers that they name.
    #[must_use]
    pub fn of(path: &str, headers: &HeaderMap, wanted: &[HeaderName], tenant_from: TenantFrom) -> Self {
        let text = |name: &HeaderName| Some(headers.get(name)?.to_str().ok()?.to_owned());
        Self {
            path: path.to_owned(),
            tenant: tenant_of(headers, tenant_from),
            headers: wanted.iter().filter_map(|name| Some((name.clone(), text(name)?))).collect(),
        }
    }

    /// Those of the request that this task answers.
    #[must_use]
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Runs `work` as the answer to a request with these facts.
    pub async fn during<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(Arc::new(self), work).await
    }
}

/// The layer that remembers a request's facts while its handler runs, if any rule wants them.
pub fn remember(routes: Routes) -> impl Fn(Request, &App) -> BoxFuture<'static, Response> {
    move |request, app| match wanted(&routes, &request) {
        Some(facts) => Box::pin(facts.during(app.answer(request))),
        None => app.answer(request),
    }
}

fn wanted(routes: &Routes, request: &Request) -> Option<Facts> {
    let table = routes.table();
    let facts = || Facts::of(request.uri().path(), request.headers(), table.headers(), routes.tenant_from());
    table.looks_at_facts().then(facts)
}
