//! What each route does.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use llmo_cache::remote::wire::Removed;
use llmo_core::CacheStats;

use super::Service;
use super::answer::{self, Refusal};
use super::request::{self, Sweep, SweepQuery};
use crate::http::body;

type GivenKey = Result<Path<String>, PathRejection>;

/// `GET` of an entry.
pub(super) async fn read(State(service): State<Service>, key: GivenKey) -> Result<Response, Refusal> {
    match service.cache.get(&request::key(key)?).await? {
        Some(entry) => answer::entry(entry),
        None => Err(Refusal::not_found()),
    }
}

/// `PUT` of an entry.
pub(super) async fn write(State(service): State<Service>, key: GivenKey, http: Request) -> Result<StatusCode, Refusal> {
    let key = request::key(key)?;
    let options = request::put_options(http.headers())?;
    let value = body::read(http, service.limits).await?;
    service.cache.put(&key, value, options).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE` of an entry.
pub(super) async fn remove(State(service): State<Service>, key: GivenKey) -> Result<StatusCode, Refusal> {
    if service.cache.remove(&request::key(key)?).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Refusal::not_found())
}

/// `DELETE` of the entries with a tag, or of all.
pub(super) async fn remove_many(
    State(service): State<Service>,
    query: Result<Query<SweepQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let removed = match request::sweep(query)? {
        Sweep::Tag(tag) => service.cache.remove_tag(&tag).await?,
        Sweep::All => {
            let entries = service.cache.stats().await.map_or(0, |stats| stats.entries);
            service.cache.clear().await?;
            entries
        }
    };
    Ok(Json(Removed { removed }).into_response())
}

/// `GET` of the statistics.
pub(super) async fn stats(State(service): State<Service>) -> Result<Json<CacheStats>, Refusal> {
    Ok(Json(service.cache.stats().await?))
}
