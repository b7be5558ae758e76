//! What a server does with connections, over real sockets: limits, deadlines, odd requests, the drain.
#![allow(missing_docs, clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod support;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::{get, post};
use bytes::Bytes;
use futures::stream;
use llmo_server::http::body::{self, BodyLimits};
use llmo_server::http::{Arrival, ServeOptions, layers};
use support::{Raw, Server, eventually, status, within};

const GOOD: &str = "GET /ok HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

fn quick() -> ServeOptions {
    let mut options = ServeOptions::default();
    options.header_timeout = Duration::from_millis(300);
    options.idle_timeout = Duration::from_millis(600);
    options.write_timeout = Duration::from_millis(500);
    options.drain_grace = Duration::from_millis(500);
    options
}

fn app() -> Router {
    layers::standard(
        Router::new()
            .route("/ok", get(async || "ok"))
            .route("/panic", get(async || -> &'static str { panic!("on purpose") }))
            .route(
                "/echo",
                post(async |request: Request| {
                    let mut limits = BodyLimits::default();
                    limits.max_bytes = 1 << 20;
                    limits.timeout = Duration::from_millis(300);
                    body::read_json(request, limits).await
                }),
            )
            .route(
                "/endless",
                get(async || {
                    let piece = Bytes::from(vec![b'x'; 4096]);
                    Body::from_stream(stream::repeat_with(move || Ok::<_, Infallible>(piece.clone())))
                }),
            )
            .route("/forever", get(async || std::future::pending::<&'static str>().await))
            .route(
                "/until-closing",
                get(async |request: Request| {
                    let lifecycle = Arrival::of(request.extensions()).unwrap().lifecycle().clone();
                    Body::from_stream(stream::once(async move {
                        lifecycle.closing().await;
                        Ok::<_, Infallible>("goodbye")
                    }))
                }),
            ),
    )
}

async fn exchange(server: &Server, request: impl AsRef<[u8]>) -> String {
    let mut raw = Raw::connect(server.addr).await;
    raw.send(request).await;
    raw.rest().await
}

#[tokio::test]
async fn slow_headers_are_answered_with_408_and_others_are_served_meanwhile() {
    let server = Server::start(app(), quick()).await;
    let mut slow = Raw::connect(server.addr).await;
    slow.send("GET /ok HTTP/1.1\r\nhost:").await;
    assert_eq!(status(&exchange(&server, GOOD).await), 200);
    // A byte now and then does not help.
    let drip = async {
        loop {
            slow.send("a").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(500), drip).await;
    assert_eq!(status(&slow.rest().await), 408);
    assert_eq!(status(&exchange(&server, GOOD).await), 200);
}

#[tokio::test]
async fn slow_headers_of_a_second_request_do_not_get_the_idle_time() {
    let mut options = quick();
    options.idle_timeout = Duration::from_secs(60);
    let server = Server::start(app(), options).await;
    let mut raw = Raw::connect(server.addr).await;
    raw.send("GET /ok HTTP/1.1\r\nhost: x\r\n\r\n").await;
    raw.until("ok").await;
    // Long enough for the watchdog to wait for the idle time.
    tokio::time::sleep(Duration::from_millis(400)).await;
    raw.send("GET /ok HTTP/1.1\r\nhost:").await;
    assert_eq!(status(&raw.rest().await), 408);
}

#[tokio::test]
async fn who_says_nothing_is_closed_without_a_word() {
    let server = Server::start(app(), quick()).await;
    assert_eq!(exchange(&server, "").await, "");
}

#[tokio::test]
async fn an_idle_connection_is_kept_and_then_closed() {
    let server = Server::start(app(), quick()).await;
    let mut raw = Raw::connect(server.addr).await;
    for _ in 0..2 {
        raw.send("GET /ok HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(status(&raw.until("ok").await), 200);
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert_eq!(raw.rest().await, "");
}

#[tokio::test]
async fn a_slow_body_is_answered_with_408() {
    let server = Server::start(app(), quick()).await;
    let response = exchange(&server, "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{").await;
    assert_eq!(status(&response), 408);
    assert!(response.contains("request_timeout"), "{response}");
    assert!(response.contains("connection: close"), "{response}");
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_answered_with_431() {
    let server = Server::start(app(), quick()).await;
    let many: String = (0..101).map(|i| format!("h{i}: x\r\n")).collect();
    assert_eq!(status(&exchange(&server, format!("GET /ok HTTP/1.1\r\n{many}\r\n")).await), 431);
    let large = "x".repeat(17 << 10);
    assert_eq!(status(&exchange(&server, format!("GET /ok HTTP/1.1\r\nh: {large}\r\n\r\n")).await), 431);
    assert_eq!(status(&exchange(&server, GOOD).await), 200);
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_the_connection_is_closed() {
    let server = Server::start(app(), quick()).await;
    let cases = [
        ("different lengths", "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}"),
        ("signed length", "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: +2\r\n\r\n{}"),
        ("negative length", "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: -2\r\n\r\n{}"),
        ("obs-fold", "GET /ok HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n"),
        ("space before colon", "GET /ok HTTP/1.1\r\nhost : x\r\n\r\n"),
        ("no HTTP at all", "\u{16}\u{3}\u{1}\r\n\r\n"),
        ("NUL in a header", "GET /ok HTTP/1.1\r\nhost: x\0y\r\n\r\n"),
        (
            "chunk size overflow",
            "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        ),
    ];
    for (name, request) in cases {
        let response = exchange(&server, request).await;
        assert_eq!(status(&response), 400, "{name}: {response}");
        assert_eq!(status(&exchange(&server, GOOD).await), 200, "after {name}");
    }
}

#[tokio::test]
async fn nothing_can_be_smuggled_behind_a_second_length() {
    let server = Server::start(app(), quick()).await;
    let hidden = "GET /ok HTTP/1.1\r\nhost: x\r\n\r\n";
    for lengths in
        ["transfer-encoding: chunked\r\ncontent-length: 2", "content-length: 2\r\ntransfer-encoding: chunked"]
    {
        let request = format!("POST /echo HTTP/1.1\r\nhost: x\r\n{lengths}\r\n\r\n0\r\n\r\n{hidden}");
        let response = exchange(&server, request).await;
        assert_eq!(response.matches("HTTP/1.1").count(), 1, "{response}");
        assert!(response.contains("connection: close"), "{response}");
    }
}

#[tokio::test]
async fn a_large_body_is_refused_with_413_that_the_client_gets_to_see() {
    let server = Server::start(app(), quick()).await;
    let body = "x".repeat(10 << 20);
    let declared = format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let chunked = format!(
        "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    for request in [declared, chunked] {
        let response = exchange(&server, request).await;
        assert_eq!(status(&response), 413, "{response}");
        assert!(response.contains("request_too_large"), "{response}");
    }
    let asked = "POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 10000000\r\n\r\n";
    assert_eq!(status(&exchange(&server, asked).await), 413);
    assert_eq!(status(&exchange(&server, GOOD).await), 200);
}

#[tokio::test]
async fn a_panic_is_a_typed_500_and_the_process_lives() {
    let server = Server::start(app(), quick()).await;
    let response = reqwest::get(server.url("/panic")).await.unwrap();
    assert_eq!(response.status(), 500);
    assert!(response.headers().contains_key("x-request-id"));
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], "internal");
    assert!(!body.to_string().contains("on purpose"));
    assert_eq!(reqwest::get(server.url("/ok")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_harmless_request_id_is_kept_and_another_is_replaced() {
    let server = Server::start(app(), quick()).await;
    let client = reqwest::Client::new();
    let id = async |given: &str| {
        let response = client.get(server.url("/ok")).header("x-request-id", given).send().await.unwrap();
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id("abc-1.2:3_4").await, "abc-1.2:3_4");
    let made = id("a b\tc").await;
    assert!(made.len() == 32 && made.bytes().all(|b| b.is_ascii_hexdigit()), "{made}");
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut() {
    let server = Server::start(app(), quick()).await;
    let mut raw = Raw::connect(server.addr).await;
    raw.send("GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await;
    raw.until("200 OK").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // What the kernels have buffered, and then the end, though the response is endless.
    assert!(raw.rest().await.len() < 64 << 20);
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let mut options = quick();
    options.max_connections = 1;
    let server = Server::start(app(), options).await;
    let mut first = Raw::connect(server.addr).await;
    first.send("GET /ok HTTP/1.1\r\nhost: x\r\n\r\n").await;
    first.until("ok").await;
    let mut second = Raw::connect(server.addr).await;
    second.send(GOOD).await;
    let early = tokio::time::timeout(Duration::from_millis(100), second.0.readable()).await;
    assert!(early.is_err(), "served beyond the cap");
    drop(first);
    assert_eq!(status(&second.rest().await), 200);
}

#[tokio::test]
async fn http2_with_prior_knowledge_works() {
    let server = Server::start(app(), quick()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let response = client.get(server.url("/ok")).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert_eq!(response.text().await.unwrap(), "ok");
}

#[tokio::test]
async fn shutdown_lets_streams_finish_within_the_grace_and_then_tells_them_to_end() {
    let server = Server::start(app(), quick()).await;
    let mut idle = Raw::connect(server.addr).await;
    idle.send("GET /ok HTTP/1.1\r\nhost: x\r\n\r\n").await;
    idle.until("ok").await;
    let mut stream = Raw::connect(server.addr).await;
    stream.send("GET /until-closing HTTP/1.1\r\nhost: x\r\n\r\n").await;
    stream.until("200 OK").await;
    let mut waiting = Raw::connect(server.addr).await;
    waiting.send("GET /forever HTTP/1.1\r\nhost: x\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(50)).await;

    server.shutdown.cancel();
    assert_eq!(idle.rest().await, "", "an idle connection closes at once");
    let addr = server.addr;
    let refused = async { while tokio::net::TcpStream::connect(addr).await.is_ok() {} };
    within(refused).await;
    assert!(stream.rest().await.contains("goodbye"));
    let response = waiting.rest().await;
    assert_eq!(status(&response), 503);
    assert!(response.contains("\"shutdown\"") && response.contains("retry-after"), "{response}");
    server.ended().await;
}

#[tokio::test]
async fn a_server_without_work_ends_at_once() {
    let server = Server::start(app(), ServeOptions::default()).await;
    assert_eq!(status(&exchange(&server, GOOD).await), 200);
    server.shutdown.cancel();
    let ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = std::sync::Arc::clone(&ended);
    tokio::spawn(async move {
        server.ended().await;
        flag.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    eventually("the end", || ended.load(std::sync::atomic::Ordering::SeqCst)).await;
}
