//! All routes of a front end.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use llmo_core::Models;

use super::state::Frontend;
use super::{FrontendOptions, chat, completions, embeddings, health, models, rerank, spec, template, tokens};
use crate::http::layers;
use crate::metrics;

/// The routes of every dialect over these models, with health, readiness and metrics.
///
/// The result is complete: it has its own 404 and 405, and is wrapped in [`layers::standard`].
pub fn router(models: Arc<dyn Models>, options: FrontendOptions) -> Router {
    router_with(models, options, Router::new())
}

/// As [`router`], with more routes beside its own.
pub fn router_with(models: Arc<dyn Models>, options: FrontendOptions, more: Router) -> Router {
    let registry = Arc::clone(&options.metrics);
    let routes = Router::new()
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/rerank", post(rerank::create))
        .route("/v1/reranking", post(rerank::create))
        .route("/rerank", post(rerank::create))
        .route("/reranking", post(rerank::create))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*name}", get(models::get))
        .route("/api/generate", post(spec::create))
        .route("/api/health", get(spec::health))
        .route("/apply-template", post(template::apply))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .route("/health", get(health::health))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .with_state(Arc::new(Frontend { models, options }))
        .merge(more);
    layers::standard(routes).layer(from_fn_with_state(registry, metrics::http::measure))
}
