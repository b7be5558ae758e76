//! An upstream that costs next to nothing: hyper, and answers that were made before.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::flags::Flags;
use crate::{MODEL, Result};

/// Time between two tokens of a stream.
const PACE: Duration = Duration::from_millis(50);
/// A stream of at most so many tokens is sent at once: a gateway that streams from its upstreams whatever its own client wants.
const AT_ONCE: u64 = 16;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves until it is killed.
pub(crate) async fn run(flags: &Flags) -> Result<Value> {
    let port = u16::try_from(flags.number("port", 9101))?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            // A client that leaves is no news.
            let _ = served.await;
        });
    }
}

/// Nanoseconds since the machine started.
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

async fn answer(request: Request<Incoming>) -> std::result::Result<Response<Body>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    Ok(match path.as_str() {
        "/v1/chat/completions" => chat(&body),
        "/v1/models" => {
            whole(json!({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "us"}]}))
        }
        "/health" | "/livez" | "/health_generate" => whole(json!({"status": "ok"})),
        "/get_model_info" | "/model_info" | "/get_server_info" | "/server_info" => {
            whole(json!({"model_path": MODEL, "served_model_name": MODEL, "is_generation": true}))
        }
        _ => Response::builder().status(StatusCode::NOT_FOUND).body(full(Bytes::new())).unwrap_or_default(),
    })
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).boxed_unsync()
}

fn whole(value: Value) -> Response<Body> {
    let mut response = Response::new(full(Bytes::from(value.to_string())));
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}

fn has(body: &[u8], needle: &[u8]) -> bool {
    body.windows(needle.len()).any(|window| window == needle)
}

fn chat(body: &[u8]) -> Response<Body> {
    if !has(body, b"\"stream\":true") && !has(body, b"\"stream\": true") {
        return whole(json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL,
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "It is so."}}],
            "usage": {"prompt_tokens": 200, "completion_tokens": 4, "total_tokens": 204},
        }));
    }
    let tokens = tokens(body).unwrap_or(AT_ONCE);
    let body = if tokens <= AT_ONCE {
        full(Bytes::from(chunk("It is so.") + &end()))
    } else {
        let timer = tokio::time::interval(PACE);
        let timed = futures::stream::unfold(timer, |mut timer| async {
            timer.tick().await;
            Some((chunk(&format!("@{} ", now())), timer))
        });
        let last = futures::stream::once(async { end() });
        let pieces = timed.take(usize::try_from(tokens).unwrap_or(usize::MAX)).chain(last);
        StreamBody::new(pieces.map(|text| Ok(Frame::data(Bytes::from(text))))).boxed_unsync()
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/event-stream"));
    response
}

fn chunk(text: &str) -> String {
    let chunk = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL,
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}],
    });
    format!("data: {chunk}\n\n")
}

fn end() -> String {
    let head = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL});
    let (mut finish, mut usage) = (head.clone(), head);
    finish["choices"] = json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]);
    usage["choices"] = json!([]);
    usage["usage"] = json!({"prompt_tokens": 200, "completion_tokens": 4, "total_tokens": 204});
    format!("data: {finish}\n\ndata: {usage}\n\ndata: [DONE]\n\n")
}

/// `max_tokens`, without parsing the rest.
fn tokens(body: &[u8]) -> Option<u64> {
    let name = b"\"max_tokens\":";
    let at = body.windows(name.len()).position(|window| window == name)? + name.len();
    let digits: String =
        body[at..].iter().map(|&b| char::from(b)).skip_while(|c| *c == ' ').take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
