//! A proxy that does nothing but pass on: the limit of what a gateway on hyper, that reads bodies whole, can reach.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::Result;
use crate::flags::Flags;

type Upstream = Client<HttpConnector, Full<Bytes>>;

/// Serves until it is killed: `--port`, and `--upstream`, the port of the one upstream.
pub(crate) async fn run(flags: &Flags) -> Result<Value> {
    let (port, upstream) = (u16::try_from(flags.number("port", 9100))?, flags.number("upstream", 9101));
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(2)));
    let client = Rc::new(Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let client = Rc::clone(&client);
        tokio::task::spawn_local(async move {
            let pass = service_fn(move |request| {
                let client = Rc::clone(&client);
                async move { Ok::<_, Infallible>(pass(&client, request, upstream).await.unwrap_or_else(|_| bad_gateway())) }
            });
            // A client that leaves is no news.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), pass).await;
        });
    }
}

async fn pass(client: &Upstream, request: Request<Incoming>, upstream: u64) -> Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let mut onward = Request::new(Full::new(body.collect().await?.to_bytes()));
    *onward.method_mut() = head.method;
    *onward.uri_mut() = format!("http://127.0.0.1:{upstream}{}", head.uri.path()).parse()?;
    if let Some(kind) = head.headers.get(CONTENT_TYPE) {
        onward.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    let (head, body) = client.request(onward).await?.into_parts();
    let mut answer = Response::from_parts(head, Full::new(body.collect().await?.to_bytes()));
    answer.headers_mut().remove(CONTENT_LENGTH);
    answer.headers_mut().remove(TRANSFER_ENCODING);
    Ok(answer)
}

fn bad_gateway() -> Response<Full<Bytes>> {
    let mut answer = Response::default();
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}
