//! What a plain port answers beside a port with TLS: the way there, and challenges of certificate authorities.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{HOST, LOCATION};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use parking_lot::RwLock;

use crate::fault::Fault;

/// Answers to challenges over plain HTTP (RFC 8555, 8.3), by token.
#[derive(Debug, Clone, Default)]
pub struct HttpChallenges(Arc<RwLock<HashMap<String, String>>>);

impl HttpChallenges {
    /// Answers the challenge of this token.
    pub fn put(&self, token: &str, answer: &str) {
        self.0.write().insert(token.to_owned(), answer.to_owned());
    }

    /// The challenge is over.
    pub fn remove(&self, token: &str) {
        self.0.write().remove(token);
    }
}

/// Sends everybody to the same path at `https_port`, with 308 so that methods and bodies stay what they are; answers
/// `challenges`.
pub fn router(https_port: u16, challenges: HttpChallenges) -> Router {
    let routes = Router::new()
        .route("/.well-known/acme-challenge/{token}", get(answer))
        .route("/{*path}", axum::routing::any(send_on))
        .route("/", axum::routing::any(send_on))
        .with_state(Plain { https_port, challenges });
    crate::http::layers::standard(routes)
}

#[derive(Clone)]
struct Plain {
    https_port: u16,
    challenges: HttpChallenges,
}

async fn answer(State(plain): State<Plain>, Path(token): Path<String>) -> Response {
    match plain.challenges.0.read().get(&token) {
        Some(answer) => answer.clone().into_response(),
        None => Fault::UnknownPath { path: "this challenge".into() }.into_response(),
    }
}

async fn send_on(State(plain): State<Plain>, request: Request) -> Response {
    let Some(location) = location(request.headers(), request.uri(), plain.https_port) else {
        return Fault::invalid("host", "must name the host that was asked, once").into_response();
    };
    let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
    response.headers_mut().insert(LOCATION, location);
    response
}

/// Where the same thing is over TLS. Only a host that is one gets into the header.
fn location(headers: &HeaderMap, uri: &Uri, https_port: u16) -> Option<HeaderValue> {
    let mut hosts = headers.get_all(HOST).iter();
    let named = match (uri.authority(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) => return None,
        (Some(authority), _, _) => authority.clone(),
        (None, Some(host), None) => host.to_str().ok()?.parse::<Authority>().ok()?,
        (None, None, None) => return None,
    };
    if named.as_str().contains('@') || named.host().is_empty() {
        return None;
    }
    let port = if https_port == 443 { String::new() } else { format!(":{https_port}") };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    HeaderValue::try_from(format!("https://{}{port}{path}", named.host())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &'static str, uri: &'static str, port: u16) -> Option<String> {
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
        location(&headers, &Uri::from_static(uri), port).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn path_and_query_stay_and_the_port_is_that_of_tls() {
        assert_eq!(at("api.example:8080", "/v1/models?a=b", 443).unwrap(), "https://api.example/v1/models?a=b");
        assert_eq!(at("[::1]:80", "/", 8443).unwrap(), "https://[::1]:8443/");
    }

    #[test]
    fn a_host_that_is_none_leads_nowhere() {
        for bad in ["", "a b", "user@evil.example", "a/b"] {
            assert_eq!(at(bad, "/", 443), None, "{bad}");
        }
        let twice =
            HeaderMap::from_iter([(HOST, HeaderValue::from_static("a")), (HOST, HeaderValue::from_static("b"))]);
        let mut both = HeaderMap::new();
        for (name, value) in twice {
            both.append(name.unwrap_or(HOST), value);
        }
        both.append(HOST, HeaderValue::from_static("c"));
        assert_eq!(location(&both, &Uri::from_static("/"), 443), None);
    }
}
