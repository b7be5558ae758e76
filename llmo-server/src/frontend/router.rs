//! All routes of a front end.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{any, get, post};
use llmo_core::Models;

use super::state::Frontend;
use super::{
    FrontendOptions, anthropic, chat, completions, docs, embeddings, health, models, ollama, rerank, responses, spec,
    template, tokens,
};
use crate::http::{App, Direct, layers};

/// The routes of every dialect over these models, with health, readiness and metrics.
///
/// The result is complete: it has its own 404 and 405, and is wrapped in [`layers::measured`].
pub fn router(models: Arc<dyn Models>, options: FrontendOptions) -> App {
    router_with(models, options, Router::new())
}

/// As [`router`], with more routes beside its own.
pub fn router_with(models: Arc<dyn Models>, options: FrontendOptions, more: Router) -> App {
    let registry = Arc::clone(&options.metrics);
    let frontend = Arc::new(Frontend { models, options });
    let direct = vec![
        direct("/v1/chat/completions", chat::create, &frontend),
        direct("/v1/completions", completions::create, &frontend),
        direct("/v1/responses", responses::create, &frontend),
        direct("/v1/messages", anthropic::create, &frontend),
        direct("/v1/embeddings", embeddings::create, &frontend),
        direct("/api/generate", spec::create, &frontend),
        direct("/api/chat", ollama::chat, &frontend),
    ];
    let routes = Router::new()
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/responses", post(responses::create))
        .route("/v1/messages", post(anthropic::create))
        .route("/v1/messages/count_tokens", post(anthropic::count_tokens))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/rerank", post(rerank::create))
        .route("/v1/reranking", post(rerank::create))
        .route("/rerank", post(rerank::create))
        .route("/reranking", post(rerank::create))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*name}", get(models::get))
        .route("/api/generate", post(spec::create))
        .route("/api/health", get(spec::health))
        .route("/api/chat", post(ollama::chat))
        .route("/api/embed", post(ollama::embed))
        .route("/api/embeddings", post(ollama::embeddings))
        .route("/api/tags", get(ollama::tags))
        .route("/api/ps", get(ollama::running))
        .route("/api/show", post(ollama::show))
        .route("/api/pull", post(ollama::pull))
        .route("/api/version", get(ollama::version))
        .route("/api/delete", any(ollama::not_implemented))
        .route("/api/copy", post(ollama::not_implemented))
        .route("/api/create", post(ollama::not_implemented))
        .route("/api/push", post(ollama::not_implemented))
        .route("/", get(ollama::root).head(ollama::head))
        .route("/openapi.json", get(docs::document))
        .route("/docs", get(docs::page))
        .route("/docs/page.css", get(docs::style))
        .route("/docs/page.js", get(docs::script))
        .route("/apply-template", post(template::apply))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .route("/health", get(health::health))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/metrics/vllm", get(health::vllm_metrics))
        .with_state(frontend)
        .merge(more);
    App::new(direct, layers::measured(routes, registry))
}

/// A route that nearly all requests are for, once more: past the router.
fn direct<T: 'static, H: Handler<T, Arc<Frontend>> + Sync>(
    path: &'static str,
    handler: H,
    frontend: &Arc<Frontend>,
) -> (&'static str, Direct) {
    let metrics = Arc::clone(&frontend.options.metrics);
    (path, layers::measured_direct(handler, Arc::clone(frontend), path, metrics))
}
