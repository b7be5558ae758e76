//! Noticing a death the moment it happens.
//!
//! The kernel closes every connection of a process that dies, however it died. One silent connection to each replica
//! therefore tells of its death within milliseconds, where a health check would take up to its interval.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// An upstream that closes silent connections sooner than this would trip the wire all the time: it gets none.
const SHORTEST_LIFE: Duration = Duration::from_secs(5);
/// Longest wait for the connection.
const CONNECT: Duration = Duration::from_secs(1);

/// A silent connection to one replica.
pub(super) struct Tripwire {
    address: Option<(String, u16)>,
    stream: Option<(TcpStream, Instant)>,
}

impl Tripwire {
    /// To this host and port; without one the wire never trips. Not connected yet.
    pub(super) fn new(address: Option<(String, u16)>) -> Self {
        Self { address, stream: None }
    }

    /// Connects, if it isn't connected and has somewhere to connect to. False if that fails: whoever was there a moment
    /// ago is worth another look.
    pub(super) async fn stretch(&mut self) -> bool {
        let (None, Some((host, port))) = (&self.stream, &self.address) else { return true };
        match tokio::time::timeout(CONNECT, TcpStream::connect((host.as_str(), *port))).await {
            Ok(Ok(stream)) => {
                self.stream = Some((stream, Instant::now()));
                true
            }
            _ => false,
        }
    }

    /// Waits until the other side closes the connection.
    pub(super) async fn tripped(&mut self) {
        let Some((stream, since)) = &mut self.stream else { return std::future::pending().await };
        let mut said = [0_u8; 64];
        // It has nothing to say to us; a farewell such as "408" counts as the beginning of the end.
        while matches!(stream.read(&mut said).await, Ok(n) if n > 0) {}
        let lasted = since.elapsed();
        self.stream = None;
        if lasted < SHORTEST_LIFE {
            self.address = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn wire() -> (Tripwire, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        (Tripwire::new(Some((address.ip().to_string(), address.port()))), listener)
    }

    #[tokio::test]
    async fn a_closed_connection_trips_the_wire() {
        let (mut wire, listener) = wire().await;
        wire.stretch().await;
        let (accepted, _) = listener.accept().await.expect("a connection");
        let early = tokio::time::timeout(Duration::from_millis(50), wire.tripped()).await;
        assert!(early.is_err(), "not while it is open");
        drop(accepted);
        tokio::time::timeout(Duration::from_secs(5), wire.tripped()).await.expect("it trips");
    }

    #[tokio::test]
    async fn an_upstream_that_closes_silent_connections_gets_no_wire() {
        let (mut wire, listener) = wire().await;
        wire.stretch().await;
        drop(listener.accept().await.expect("a connection"));
        wire.tripped().await;
        wire.stretch().await;
        assert!(wire.stream.is_none());
    }
}
