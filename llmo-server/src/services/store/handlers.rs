//! What each route does.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use llmo_core::store::{StoreError, StorePath, StorePutOptions};
use llmo_store::protocol::{Listing, X_SHA256, X_SIZE};
use serde::Deserialize;

use super::answer::{self, Refusal};
use super::{Service, body, range};

type Answer = Result<Response, Refusal>;
type GivenPath = Result<Path<String>, PathRejection>;

/// `GET`: an object, or a range of it.
pub(super) async fn read(State(service): State<Service>, path: GivenPath, headers: HeaderMap) -> Answer {
    let path = looked_up(path)?;
    let wanted = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let conditional = wanted.is_some() || headers.contains_key(header::IF_NONE_MATCH);
    let mut options = None;
    if conditional {
        let meta = service.store.head(&path).await?;
        if answer::is_known(&meta, &headers) {
            return answer::with(answer::about(&meta).status(StatusCode::NOT_MODIFIED), Body::empty());
        }
        options =
            wanted.filter(|_| answer::range_applies(&meta, &headers)).and_then(|text| range::parse(text, meta.size));
    }
    let partial = options.is_some();
    let object = service.store.get(&path, options.unwrap_or_default()).await?;
    let mut response =
        answer::about(&object.meta).header(header::CONTENT_LENGTH, object.range.end - object.range.start);
    if partial {
        let (first, last) = (object.range.start, object.range.end.saturating_sub(1));
        response = response
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, format!("bytes {first}-{last}/{}", object.meta.size));
    }
    answer::with(response, Body::from_stream(object.data))
}

/// `HEAD`: what is known of an object.
pub(super) async fn head(State(service): State<Service>, path: GivenPath) -> Answer {
    let meta = service.store.head(&looked_up(path)?).await?;
    answer::with(answer::about(&meta).header(header::CONTENT_LENGTH, meta.size), Body::empty())
}

/// `PUT`: stores the body, if it is what the headers promise.
pub(super) async fn write(State(service): State<Service>, path: GivenPath, request: Request) -> Answer {
    let path = named(path)?;
    let options = promised(&path, request.headers())?;
    let (data, sender) = body::stream(request.into_body(), service.stall_timeout);
    match (service.store.put(&path, data, options).await, sender.fault()) {
        (Ok(meta), _) => Ok((StatusCode::CREATED, Json(meta)).into_response()),
        (Err(_), Some(broken)) => Err(broken.into()),
        (Err(error), None) => Err(error.into()),
    }
}

/// `DELETE`: removes an object.
pub(super) async fn delete(State(service): State<Service>, path: GivenPath) -> Answer {
    service.store.delete(&looked_up(path)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The query of a listing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    prefix: Option<String>,
}

/// `GET` of all objects, or of those below a prefix.
pub(super) async fn list(State(service): State<Service>, query: Result<Query<ListQuery>, QueryRejection>) -> Answer {
    let Query(query) = query.map_err(|rejection| StoreError::InvalidPath {
        path: String::new(),
        reason: format!("the only parameter of a listing is prefix: {rejection}"),
    })?;
    let prefix = query.prefix.filter(|prefix| !prefix.is_empty()).map(StorePath::new).transpose()?;
    Ok(Json(Listing::new(service.store.list(prefix.as_ref()).await?)).into_response())
}

/// The path to write to; what isn't one is a mistake of the client.
fn named(path: GivenPath) -> Result<StorePath, Refusal> {
    match path {
        Ok(Path(path)) => Ok(StorePath::new(path)?),
        Err(rejection) => Err(StoreError::InvalidPath { path: String::new(), reason: rejection.to_string() }.into()),
    }
}

/// The path to look up. Where nothing can be, nothing is: tricks are told no more than a typing error is.
fn looked_up(path: GivenPath) -> Result<StorePath, Refusal> {
    named(path).map_err(|_| StoreError::NotFound("the object".to_owned()).into())
}

/// What the headers of an upload promise of its bytes.
fn promised(path: &StorePath, headers: &HeaderMap) -> Result<StorePutOptions, Refusal> {
    let bad = |header: &str| {
        Refusal::from(StoreError::InvalidPath {
            path: path.to_string(),
            reason: format!("the header {header} is malformed"),
        })
    };
    let mut options = StorePutOptions::default();
    if let Some(value) = headers.get(X_SHA256) {
        let hash = value.to_str().ok().filter(|hash| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
        options.expected_sha256 = Some(hash.ok_or_else(|| bad(X_SHA256))?.to_ascii_lowercase());
    }
    if let Some(value) = headers.get(X_SIZE) {
        let size = value.to_str().ok().and_then(|size| size.parse().ok());
        options.expected_size = Some(size.ok_or_else(|| bad(X_SIZE))?);
    }
    Ok(options)
}
