//! A model hub on the loopback that can be made to fail in many ways.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::get;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::net::TcpListener;

/// What the hub does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The connection breaks after so many bytes of every answer.
    CutAfter(usize),
    /// Nothing more comes after so many bytes of the first answer.
    StallOnceAfter(usize),
    /// Nothing more ever comes after so many bytes.
    StallAfter(usize),
    /// It knows no ranges.
    NoRanges,
    /// It says where the range begins, wrongly.
    WrongRanges,
    /// Every answer has this status.
    Status(u16),
    /// So many answers have this status, then it is fine.
    StatusTimes(u16, usize),
}

pub struct Hub {
    pub url: String,
    state: Arc<Shared>,
}

struct Shared {
    bytes: Bytes,
    fault: Mutex<Fault>,
    requests: Mutex<Vec<Option<u64>>>,
    answers: AtomicUsize,
}

impl Hub {
    /// Serves `bytes` as `somebody/tiny/resolve/main/tiny.Q4_1.gguf`.
    pub async fn start(bytes: &[u8], fault: Fault) -> Self {
        let state = Arc::new(Shared {
            bytes: Bytes::copy_from_slice(bytes),
            fault: Mutex::new(fault),
            requests: Mutex::default(),
            answers: AtomicUsize::new(0),
        });
        let app = Router::new().route("/{*path}", get(answer)).with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, state }
    }

    pub fn set_fault(&self, fault: Fault) {
        *self.state.fault.lock() = fault;
    }

    /// The first byte that each request asked for; `None` for one without a range.
    pub fn requests(&self) -> Vec<Option<u64>> {
        self.state.requests.lock().clone()
    }
}

async fn answer(State(hub): State<Arc<Shared>>, Path(path): Path<String>, headers: HeaderMap) -> Response<Body> {
    let offset = headers
        .get("range")
        .and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<u64>().ok());
    hub.requests.lock().push(offset);
    let count = hub.answers.fetch_add(1, Ordering::SeqCst);
    let fault = *hub.fault.lock();
    let status =
        |code: u16| Response::builder().status(StatusCode::from_u16(code).unwrap()).body(Body::from("no")).unwrap();
    match fault {
        Fault::Status(code) => return status(code),
        Fault::StatusTimes(code, times) if count < times => return status(code),
        _ if path != "somebody/tiny/resolve/main/tiny.Q4_1.gguf" => return status(404),
        _ => {}
    }
    let total = hub.bytes.len() as u64;
    let start = if fault == Fault::NoRanges { 0 } else { offset.unwrap_or(0) };
    if start >= total {
        return status(416);
    }
    let rest = hub.bytes.slice(usize::try_from(start).unwrap()..);
    let said = if fault == Fault::WrongRanges { start.saturating_sub(1) } else { start };
    let mut response = Response::builder().header("content-length", rest.len()).header("etag", "\"v1\"");
    if start > 0 {
        response = response.status(206).header("content-range", format!("bytes {said}-{}/{total}", total - 1));
    }
    let body = match fault {
        Fault::CutAfter(n) if n < rest.len() => first(rest, n, false),
        Fault::StallOnceAfter(n) if count == 0 => first(rest, n, true),
        Fault::StallAfter(n) if n < rest.len() => first(rest, n, true),
        _ => Body::from(rest),
    };
    response.body(body).unwrap()
}

/// The first bytes, then silence or a broken connection.
fn first(bytes: Bytes, n: usize, silence: bool) -> Body {
    let head = futures::stream::once(std::future::ready(Ok(bytes.slice(..n))));
    if silence {
        return Body::from_stream(head.chain(futures::stream::pending::<std::io::Result<Bytes>>()));
    }
    // The break comes only after the bytes have had their turn to be sent: hyper drops what it still holds.
    let cut = futures::stream::once(async {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        Err(std::io::Error::other("cut"))
    });
    Body::from_stream(head.chain(cut))
}
