//! What a server serves: routes, and in front of them a few paths that nearly all requests are for.
//!
//! axum's router costs a copy of every handler, several boxes and the extensions that it takes its notes in: more than
//! to read a small request. Paths with a handler of their own go past it.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use futures::future::BoxFuture;
use http::Method;
use tower::{Service, ServiceExt};

/// Answers a request. It is complete: whatever layers it needs are in it.
pub type Direct = Arc<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>;

/// Routes, and the handlers that stand before them. Clones are cheap, and the same.
#[derive(Clone)]
pub struct App {
    /// For POST; few, so that looking at each is quicker than to hash the path.
    posts: Arc<[(&'static str, Direct)]>,
    router: Router,
}

impl App {
    /// `router`, and before it `posts`: whoever answers POST at these paths. The router has them too, for other methods.
    #[must_use]
    pub fn new(posts: Vec<(&'static str, Direct)>, router: Router) -> Self {
        Self { posts: posts.into(), router }
    }

    /// More routes, which have their own layers.
    #[must_use]
    pub fn merge(self, more: Router) -> Self {
        Self { router: self.router.merge(more), ..self }
    }

    /// The same with something around every handler: `direct` around those, `router` around the routes.
    #[must_use]
    pub fn around(self, direct: impl Fn(Direct) -> Direct, router: impl FnOnce(Router) -> Router) -> Self {
        let posts = self.posts.iter().map(|(path, handler)| (*path, direct(Arc::clone(handler)))).collect();
        Self { posts, router: router(self.router) }
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request) -> Response {
        let known = |request: &Request| self.posts.iter().find(|(path, _)| *path == request.uri().path());
        match known(&request).filter(|_| *request.method() == Method::POST) {
            Some((_, handler)) => handler(request).await,
            None => match self.router.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
        }
    }
}

impl From<Router> for App {
    fn from(router: Router) -> Self {
        Self::new(Vec::new(), router)
    }
}

impl Service<Request> for App {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let app = self.clone();
        Box::pin(async move { Ok(app.answer(request).await) })
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::response::IntoResponse;
    use axum::routing::get;
    use futures::FutureExt;
    use http::StatusCode;

    use super::*;

    fn app() -> App {
        let direct: Direct = Arc::new(|_| async { "direct".into_response() }.boxed());
        App::new(vec![("/a", direct)], Router::new().route("/a", get(async || "routed")))
    }

    async fn ask(app: &App, method: Method, path: &str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = app.answer(request).await;
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_has_a_handler_of_its_own_goes_past_the_router() {
        let app = app();
        assert_eq!(ask(&app, Method::POST, "/a").await.1, "direct");
        assert_eq!(ask(&app, Method::POST, "/a?b=c").await.1, "direct");
        assert_eq!(ask(&app, Method::GET, "/a").await.1, "routed");
        assert_eq!(ask(&app, Method::POST, "/a/").await.0, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn layers_are_around_both() {
        let app = app().around(
            |inner| {
                Arc::new(move |request| {
                    let answer = inner(request);
                    async move { (StatusCode::ACCEPTED, answer.await.into_body()).into_response() }.boxed()
                })
            },
            |router| {
                router.layer(axum::middleware::map_response(async |response: Response| {
                    (StatusCode::ACCEPTED, response.into_body()).into_response()
                }))
            },
        );
        assert_eq!(ask(&app, Method::POST, "/a").await, (StatusCode::ACCEPTED, "direct".into()));
        assert_eq!(ask(&app, Method::GET, "/a").await, (StatusCode::ACCEPTED, "routed".into()));
    }
}
