//! Protocol abuse over raw sockets: refused, the process steady, memory bounded, honest clients unharmed.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // Clippy knows tests, but not what they call.

mod support;

use std::ops::Deref;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::{get, post};
use llmo_server::http::body::{self, BodyLimits};
use llmo_server::http::{ServeOptions, layers};
use support::{Raw, Server, status, within};
use tokio::io::AsyncReadExt;
use tokio::sync::{Mutex, MutexGuard};

const GOOD: &str = "GET /ok HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
const HIDDEN: &str = "GET /ok HTTP/1.1\r\nhost: x\r\n\r\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A server for one test at a time: what one sends is memory that another would measure.
struct Alone {
    server: Server,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Alone {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

async fn server() -> Alone {
    static TURN: Mutex<()> = Mutex::const_new(());
    let turn = TURN.lock().await;
    let mut options = ServeOptions::default();
    options.header_timeout = Duration::from_secs(2);
    options.idle_timeout = Duration::from_secs(2);
    Alone { server: Server::start(app(), options).await, _turn: turn }
}

fn app() -> Router {
    let echo = async |request: Request| {
        let mut limits = BodyLimits::default();
        limits.max_bytes = 1 << 20;
        limits.timeout = Duration::from_millis(500);
        body::read_json(request, limits).await
    };
    layers::standard(Router::new().route("/ok", get(async || "ok")).route("/echo", post(echo)))
}

async fn exchange(server: &Server, request: impl AsRef<[u8]>) -> String {
    let mut raw = Raw::connect(server.addr).await;
    raw.send(request).await;
    raw.rest().await
}

async fn still_serves(server: &Server, after: &str) {
    assert_eq!(status(&exchange(server, GOOD).await), 200, "after {after}");
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

// === HTTP/1 ===

#[tokio::test]
async fn every_form_of_smuggling_is_a_400_and_the_end_of_the_connection() {
    let server = server().await;
    let post = |headers: &str, body: &str| format!("POST /echo HTTP/1.1\r\nhost: x\r\n{headers}\r\n\r\n{body}{HIDDEN}");
    let cases = [
        ("CL.TE", post("content-length: 6\r\ntransfer-encoding: chunked", "0\r\n\r\nG")),
        ("TE.CL", post("transfer-encoding: chunked\r\ncontent-length: 4", "5c\r\n")),
        ("TE.TE, two headers", post("transfer-encoding: chunked\r\ntransfer-encoding: identity", "0\r\n\r\n")),
        ("TE.TE, the same twice", post("transfer-encoding: chunked\r\ntransfer-encoding: chunked", "0\r\n\r\n")),
        ("TE, unknown coding", post("transfer-encoding: xchunked", "0\r\n\r\n")),
        ("TE, chunked is not last", post("transfer-encoding: chunked, identity", "0\r\n\r\n")),
        ("TE, space before the colon", post("transfer-encoding : chunked", "0\r\n\r\n")),
        ("TE, control character", post("transfer-encoding: \u{b}chunked", "0\r\n\r\n")),
        ("TE, folded", post("transfer-encoding:\r\n chunked", "0\r\n\r\n")),
        ("CL twice, different", post("content-length: 2\r\ncontent-length: 3", "{}")),
        ("CL twice, the same", post("content-length: 2\r\ncontent-length: 2", "{}")),
        ("CL, a list", post("content-length: 2, 2", "{}")),
        ("CL, signed", post("content-length: +2", "{}")),
        ("CL, hexadecimal", post("content-length: 0x2", "{}")),
        ("CL, too large for any machine", post("content-length: 99999999999999999999", "{}")),
        ("obs-fold", post("a: b\r\n c\r\ncontent-length: 2", "{}")),
        ("bare LF", format!("GET /ok HTTP/1.1\nhost: x\n\n{HIDDEN}")),
        ("bare LF after one header", format!("GET /ok HTTP/1.1\r\nhost: x\na: b\r\n\r\n{HIDDEN}")),
        ("bare CR", format!("GET /ok HTTP/1.1\r\nhost: x\ra: b\r\n\r\n{HIDDEN}")),
        ("space before the first colon", format!("GET /ok HTTP/1.1\r\nhost : x\r\n\r\n{HIDDEN}")),
        ("header without a name", format!("GET /ok HTTP/1.1\r\nhost: x\r\n: b\r\n\r\n{HIDDEN}")),
        ("chunk size with a sign", post("transfer-encoding: chunked", "+2\r\n{}\r\n0\r\n\r\n")),
        ("chunk size overflow", post("transfer-encoding: chunked", "10000000000000002\r\n{}\r\n0\r\n\r\n")),
        ("chunk without its end", post("transfer-encoding: chunked", "2\r\n{}x0\r\n\r\n")),
        ("a version of no protocol", format!("GET /ok HTTP/1.2\r\nhost: x\r\n\r\n{HIDDEN}")),
    ];
    for (name, request) in cases {
        let response = exchange(&server, &request).await;
        assert_eq!(status(&response), 400, "{name}: {response}");
        assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{name}: something was smuggled: {response}");
        still_serves(&server, name).await;
    }
}

#[tokio::test]
async fn an_ambiguous_head_is_refused_on_a_kept_connection_and_in_pieces_too() {
    let server = server().await;
    let mut raw = Raw::connect(server.addr).await;
    raw.send("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}").await;
    assert_eq!(status(&raw.until("{}").await), 200);
    for piece in [
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-le",
        "ngth: 2\r\n",
        "transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        HIDDEN,
    ] {
        raw.send(piece).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rest = raw.rest().await;
    assert_eq!((status(&rest), rest.matches("HTTP/1.1 ").count()), (400, 1), "{rest}");
}

#[tokio::test]
async fn an_ambiguous_head_behind_a_good_request_is_refused_too() {
    let server = server().await;
    let whole = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    let chunked = "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    for (name, bad) in [
        ("bare LF", "GET /ok HTTP/1.1\nhost: x\n\n"),
        ("the same length twice", "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}"),
        (
            "both kinds of length",
            "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        ),
    ] {
        for good in [HIDDEN, whole, chunked] {
            let response = exchange(&server, [good, bad, HIDDEN].concat()).await;
            let statuses: Vec<_> = response.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
            assert_eq!(statuses, ["200", "400"], "{name} behind {good:?}: {response}");
        }
    }
    // What is good is answered, however much of it comes at once.
    let many = [HIDDEN, whole, chunked, whole, GOOD].concat();
    assert_eq!(exchange(&server, many).await.matches("HTTP/1.1 200").count(), 5);
    still_serves(&server, "pipelines").await;
}

#[tokio::test]
async fn bombs_of_headers_and_bodies_are_cut_and_take_no_memory() {
    let server = server().await;
    still_serves(&server, "the start").await;
    let before = resident();
    let header = format!("GET /ok HTTP/1.1\r\nhost: x\r\nbomb: {}", "x".repeat(4 << 20));
    let line = format!("GET /{} HTTP/1.1\r\n", "x".repeat(4 << 20));
    let many: String = (0..50_000).map(|i| format!("h{i}: x\r\n")).collect();
    for (name, bomb, statuses) in [
        ("one endless header", header, &[431][..]),
        ("an endless request line", line, &[414, 431][..]),
        ("50 000 headers", format!("GET /ok HTTP/1.1\r\nhost: x\r\n{many}\r\n"), &[431][..]),
    ] {
        let response = exchange(&server, &bomb).await;
        assert!(statuses.contains(&status(&response)), "{name}: {response}");
    }
    let declared = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000000\r\nexpect: 100-continue\r\n\r\n";
    assert_eq!(status(&exchange(&server, declared).await), 413);
    let chunk = format!("{:x}\r\n{}\r\n", 256 << 10, "x".repeat(256 << 10));
    let mut raw = Raw::connect(server.addr).await;
    raw.send("POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for _ in 0..16 {
        raw.send(&chunk).await;
    }
    raw.send("0\r\n\r\n").await;
    assert_eq!(status(&raw.rest().await), 413);
    let grown = resident().saturating_sub(before);
    assert!(grown < 48 << 20, "grew by {} MiB", grown >> 20);
    still_serves(&server, "the bombs").await;
}

#[tokio::test]
async fn no_protocol_is_switched_to() {
    let server = server().await;
    let upgrade = |method: &str, protocol: &str, more: &str, body: &str| {
        format!(
            "{method} HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: {protocol}\r\n{more}\r\n{body}"
        )
    };
    for protocol in ["h2c", "websocket", "TLS/1.0", "HTTP/2.0"] {
        let mut raw = Raw::connect(server.addr).await;
        raw.send(upgrade("GET /ok", protocol, "http2-settings: AAMAAABkAAQAAP__\r\n", "")).await;
        let response = raw.until("ok").await;
        assert_eq!(status(&response), 200, "{protocol}: {response}");
        // Whoever in front of us believed in the switch would pass this on unread.
        raw.send([PREFACE, &frame(4, 0, 0, &[]), &headers(1, true)].concat()).await;
        let rest = raw.rest().await;
        assert!(!rest.contains("200"), "{protocol}: {rest}");
    }
    let with_body = upgrade("POST /echo", "h2c", "content-length: 2\r\n", "{}");
    let response = exchange(&server, with_body + HIDDEN).await;
    assert_eq!((status(&response), response.matches("HTTP/1.1 ").count()), (400, 1), "{response}");
    let chunked = upgrade("POST /echo", "websocket", "transfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n");
    assert_eq!(status(&exchange(&server, chunked).await), 400);
    still_serves(&server, "upgrades").await;
}

#[tokio::test]
async fn two_hundred_slow_clients_take_little_memory_and_nobody_s_turn() {
    let server = server().await;
    still_serves(&server, "the start").await;
    let before = resident();
    let mut slow = Vec::new();
    for i in 0..200 {
        let mut raw = Raw::connect(server.addr).await;
        let head = format!("POST /echo HTTP/1.1\r\nhost: x\r\nlong: {}", "x".repeat(15 << 10));
        let body = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n{";
        raw.send(if i % 2 == 0 { head.as_str() } else { body }).await;
        slow.push(raw);
    }
    still_serves(&server, "slow clients came").await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 << 20, "grew by {} KiB a client", (grown >> 10) / slow.len());
    for raw in &mut slow {
        assert_eq!(status(&raw.rest().await), 408);
    }
    still_serves(&server, "slow clients").await;
}

// === HTTP/2 ===

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET /ok`, indexed names, nothing compressed.
fn block() -> Vec<u8> {
    [&[0x82, 0x86, 0x04, 3][..], b"/ok", &[0x01, 1], b"x"].concat()
}

fn headers(stream: u32, end: bool) -> Vec<u8> {
    frame(1, 4 | u8::from(end), stream, &block())
}

async fn multiplexed(server: &Server) -> Raw {
    let mut raw = Raw::connect(server.addr).await;
    raw.send([PREFACE, &frame(4, 0, 0, &[])].concat()).await;
    raw
}

/// Reads until the server says goodbye or closes: the code of its GOAWAY, if it sent one.
async fn goodbye(raw: &mut Raw) -> Option<u32> {
    let mut head = [0_u8; 9];
    loop {
        within(raw.0.read_exact(&mut head)).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        within(raw.0.read_exact(&mut payload)).await.ok()?;
        if head[3] == 7 {
            return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
}

#[tokio::test]
async fn a_good_client_with_the_same_frames_is_answered() {
    let server = server().await;
    let mut raw = multiplexed(&server).await;
    raw.send(headers(1, true)).await;
    let mut seen = Vec::new();
    while !seen.windows(2).any(|pair| pair == b"ok") {
        let mut piece = [0; 512];
        let n = within(raw.0.read(&mut piece)).await.unwrap();
        assert!(n > 0, "{seen:?}");
        seen.extend_from_slice(&piece[..n]);
    }
}

#[tokio::test]
async fn rapid_resets_are_answered_with_goaway() {
    let server = server().await;
    let before = resident();
    let mut raw = multiplexed(&server).await;
    let storm: Vec<u8> = (0..20_000_u32)
        .flat_map(|i| [headers(2 * i + 1, true), frame(3, 0, 2 * i + 1, &8_u32.to_be_bytes())].concat())
        .collect();
    let storming = raw.0.try_write(&storm).unwrap_or(0);
    assert!(storming > 0);
    // ENHANCE_YOUR_CALM
    assert_eq!(goodbye(&mut raw).await, Some(11));
    assert!(resident().saturating_sub(before) < 32 << 20);
    still_serves(&server, "rapid resets").await;
}

#[tokio::test]
async fn endless_continuations_are_cut() {
    let server = server().await;
    let before = resident();
    let mut raw = multiplexed(&server).await;
    raw.send(frame(1, 1, 1, &block())).await;
    let more = [&[0x00, 4][..], b"bomb", &[0x7f, 0x81, 0x1e], &[b'x'; 4000]].concat();
    for _ in 0..16_000 {
        raw.send(frame(9, 0, 1, &more)).await;
    }
    let code = goodbye(&mut raw).await;
    assert!(matches!(code, None | Some(1 | 9 | 11)), "{code:?}");
    assert!(resident().saturating_sub(before) < 32 << 20);
    let mut raw = multiplexed(&server).await;
    raw.send(frame(1, 1, 1, &block())).await;
    for _ in 0..10_000 {
        raw.send(frame(9, 0, 1, &[])).await;
    }
    let code = goodbye(&mut raw).await;
    assert!(matches!(code, None | Some(1 | 9 | 11)), "{code:?}");
    still_serves(&server, "continuations").await;
}

#[tokio::test]
async fn a_small_block_that_unpacks_to_megabytes_is_refused() {
    let server = server().await;
    let before = resident();
    let mut raw = multiplexed(&server).await;
    // One entry of 4 000 bytes in the table, then named ten thousand times, one byte each.
    let entry = [&[0x40, 4][..], b"bomb", &[0x7f, 0xa1, 0x1e], &[b'x'; 4000]].concat();
    let bomb = [block(), entry, vec![0xbe; 10_000]].concat();
    raw.send(frame(1, 5, 1, &bomb)).await;
    let mut seen = Vec::new();
    let answer = async {
        let mut piece = [0; 4096];
        while let Ok(n @ 1..) = raw.0.read(&mut piece).await {
            seen.extend_from_slice(&piece[..n]);
            if seen.len() > 64 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(3), answer).await;
    assert!(!seen.windows(2).any(|pair| pair == b"ok"), "it was served");
    assert!(resident().saturating_sub(before) < 32 << 20);
    still_serves(&server, "a bomb of headers").await;
}

#[tokio::test]
async fn floods_of_small_frames_do_not_pile_up() {
    for (name, flood) in [
        ("pings", frame(6, 0, 0, &[0; 8])),
        ("settings", frame(4, 0, 0, &[])),
        ("empty data", frame(0, 0, 1, &[])),
        ("window updates", frame(8, 0, 0, &1_u32.to_be_bytes())),
    ] {
        let server = server().await;
        let before = resident();
        let mut raw = multiplexed(&server).await;
        raw.send(headers(1, false)).await;
        let many = flood.repeat(500);
        // The answers are never read.
        let sending = async {
            for _ in 0..400 {
                raw.send(&many).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(3), sending).await;
        let grown = resident().saturating_sub(before);
        assert!(grown < 32 << 20, "{name}: grew by {} MiB", grown >> 20);
        still_serves(&server, name).await;
    }
}
