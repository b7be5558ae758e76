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
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Method;
use tower::{Service, ServiceExt};

/// Answers a request. It is complete: whatever layers it needs are in it.
pub type Direct = Arc<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>;

/// Routes, and the handlers that stand before them. Clones are cheap, and the same.
#[derive(Clone)]
pub struct App(Kind);

#[derive(Clone)]
enum Kind {
    Routes {
        /// For POST; few, so that looking at each is quicker than to hash the path.
        posts: Arc<[(&'static str, Direct)]>,
        router: Router,
    },
    /// Something around all of another one.
    Layered(Direct),
}

impl App {
    /// `router`, and before it `posts`: whoever answers POST at these paths. The router has them too, for other methods.
    #[must_use]
    pub fn new(posts: Vec<(&'static str, Direct)>, router: Router) -> Self {
        Self(Kind::Routes { posts: posts.into(), router })
    }

    /// The same with something around it, which sees every request first.
    #[must_use]
    pub fn layer(
        self,
        around: impl Fn(Request, &Self) -> BoxFuture<'static, Response> + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::Layered(Arc::new(move |request| around(request, &self))))
    }

    /// Answers a request.
    pub fn answer(&self, request: Request) -> BoxFuture<'static, Response> {
        match &self.0 {
            Kind::Layered(around) => around(request),
            Kind::Routes { posts, router } => {
                let known = posts.iter().find(|(path, _)| *path == request.uri().path());
                match known.filter(|_| *request.method() == Method::POST) {
                    Some((_, handler)) => handler(request),
                    None => Box::pin(
                        router.clone().oneshot(request).map(|answer| answer.unwrap_or_else(|never| match never {})),
                    ),
                }
            }
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
        Box::pin(self.answer(request).map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::response::IntoResponse;
    use axum::routing::get;
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
        let app = app().layer(|request, app| {
            let answer = app.answer(request);
            async move { (StatusCode::ACCEPTED, answer.await.into_body()).into_response() }.boxed()
        });
        assert_eq!(ask(&app, Method::POST, "/a").await, (StatusCode::ACCEPTED, "direct".into()));
        assert_eq!(ask(&app, Method::GET, "/a").await, (StatusCode::ACCEPTED, "routed".into()));
    }
}
