//! Does Redis answer, if the configuration wants it?

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use llmo_config::{CacheBackend, Config};

use super::{Finding, Scene};

pub(super) fn check(config: &Config, _: &Scene) -> Vec<Finding> {
    let wants = |backend| matches!(backend, CacheBackend::Redis | CacheBackend::Tiered);
    if !wants(config.cache.backend) && !wants(config.cache.service_backend) {
        return vec![Finding::fine("not used (cache.backend)")];
    }
    let address = address(&config.cache.redis_url);
    match connect(&address) {
        Ok(()) => vec![Finding::fine(format!("Redis answers at {address}"))],
        Err(error) => vec![Finding::advice(
            format!("Redis does not answer at {address} ({error}): answers are not cached there"),
            "start it (apt-get install redis-server), correct REDIS_URL, or set LLMO_CACHE__BACKEND=memory",
        )],
    }
}

/// Host and port of a Redis URL, without credentials.
fn address(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.contains(':') { host.to_owned() } else { format!("{host}:6379") }
}

fn connect(address: &str) -> std::io::Result<()> {
    let mut addresses = address.to_socket_addrs()?;
    let first = addresses.next().ok_or_else(|| std::io::Error::other("the name has no address"))?;
    TcpStream::connect_timeout(&first, Duration::from_millis(500)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn credentials_are_never_shown() {
        assert_eq!(address("redis://user:secret@h:7/0"), "h:7");
        assert_eq!(address("redis://h/0"), "h:6379");
    }
}
