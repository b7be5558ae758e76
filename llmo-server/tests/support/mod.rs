//! A server on a free port of the loopback, and a client that sends exactly the bytes it is told to.
#![allow(dead_code, missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // Clippy knows tests, but not what they call.

pub mod scripted;
pub mod sim;

use std::net::SocketAddr;
use std::time::Duration;

use llmo_server::http::{App, ServeOptions, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything in a test.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    pub addr: SocketAddr,
    pub shutdown: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub async fn start(app: impl Into<App>, options: ServeOptions) -> Self {
        let app = app.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(listener, app, options, shutdown.clone()));
        Self { addr, shutdown, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Waits for the end of the server.
    pub async fn ended(self) {
        within(self.task).await.unwrap().unwrap();
    }
}

/// Panics when `future` takes longer than any test should wait.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing happened for 20 s")
}

/// A connection that speaks bytes.
pub struct Raw(pub TcpStream);

impl Raw {
    pub async fn connect(addr: SocketAddr) -> Self {
        Self(within(TcpStream::connect(addr)).await.unwrap())
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The server may have closed already: what matters is what it said.
        let _ = within(self.0.write_all(bytes.as_ref())).await;
    }

    /// All that the server says until it closes.
    pub async fn rest(&mut self) -> String {
        let mut all = Vec::new();
        let mut piece = [0_u8; 4096];
        loop {
            match within(self.0.read(&mut piece)).await {
                Ok(0) | Err(_) => return String::from_utf8_lossy(&all).into_owned(),
                Ok(n) => all.extend_from_slice(&piece[..n]),
            }
        }
    }

    /// What the server says until it has said `needle`.
    pub async fn until(&mut self, needle: &str) -> String {
        let mut all = String::new();
        let mut piece = [0_u8; 4096];
        while !all.contains(needle) {
            let n = within(self.0.read(&mut piece)).await.unwrap();
            assert!(n > 0, "closed before {needle:?}; said {all:?}");
            all.push_str(&String::from_utf8_lossy(&piece[..n]));
        }
        all
    }
}

/// The status of a raw response.
pub fn status(response: &str) -> u16 {
    response.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("no status in {response:?}"))
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = tokio::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
