//! Opens connections to one upstream.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::Url;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::error::Error;

/// A host that is gone without a word is noticed while nothing is sent.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Where an upstream is.
#[derive(Debug)]
pub(super) struct Connector {
    place: Place,
    timeout: Duration,
}

#[derive(Debug)]
enum Place {
    Address(SocketAddr),
    /// Resolved anew for each connection: names move.
    Name(String, u16),
}

impl Connector {
    /// To the host and port of a URL. `timeout` is for all of the host's addresses together, once they are known.
    pub(super) fn new(url: &Url, timeout: Duration) -> Self {
        let port = url.port_or_known_default().unwrap_or(80);
        let host = url.host_str().unwrap_or_default();
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let place = match literal.parse::<IpAddr>() {
            Ok(address) => Place::Address(SocketAddr::new(address, port)),
            Err(_) => Place::Name(host.to_owned(), port),
        };
        Self { place, timeout }
    }

    /// Tries the addresses in their order; each has an equal share of the time.
    ///
    /// # Errors
    /// [`Error::Connect`] with the failure of the last address.
    pub(super) async fn open(&self) -> Result<TcpStream, Error> {
        let addresses = match &self.place {
            Place::Address(address) => vec![*address],
            Place::Name(name, port) => {
                tokio::net::lookup_host((&**name, *port)).await.map_err(Error::Connect)?.collect()
            }
        };
        let share = self.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    tune(&stream);
                    return Ok(stream);
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::Error::new(io::ErrorKind::TimedOut, "it did not take the connection in time"),
            }
        }
        Err(Error::Connect(failure))
    }
}

/// A failure costs speed, not correctness.
fn tune(stream: &TcpStream) {
    let nodelay = stream.set_nodelay(true);
    let keepalive = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    if let Err(error) = nodelay.and(keepalive) {
        tracing::debug!(%error, "could not tune a connection");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_not_looked_up() {
        for (url, expected) in [("http://127.0.0.1:81", "127.0.0.1:81"), ("http://[::1]/x", "[::1]:80")] {
            let connector = Connector::new(&url.parse().unwrap(), KEEPALIVE);
            assert!(matches!(connector.place, Place::Address(address) if address == expected.parse().unwrap()));
        }
        let connector = Connector::new(&"http://Host:81".parse().unwrap(), KEEPALIVE);
        assert!(matches!(connector.place, Place::Name(name, 81) if name == "host"));
    }
}
