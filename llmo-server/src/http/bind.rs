//! A listening socket, or an error that says what to do.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::port_holder::port_holder;

/// The address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {}; choose another port with {setting}", reason(.source, *.port))]
pub struct BindError {
    /// What was asked for, `host:port`.
    pub addr: String,
    /// The port asked for.
    pub port: u16,
    /// The settings that choose the port, for people: `API_PORT or LLMO_GATEWAY__PORT`.
    pub setting: &'static str,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl BindError {
    /// Is the port in use by somebody else?
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

/// Listens on `host:port`; port 0 takes any free one. `setting` names the variables that choose the port.
///
/// # Errors
/// [`BindError`] if the name can't be resolved, the port is taken, or the user may not listen there.
pub async fn bind(host: &str, port: u16, setting: &'static str) -> Result<TcpListener, BindError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    TcpListener::bind((bare, port)).await.map_err(|source| BindError { addr: show(bare, port), port, setting, source })
}

fn show(host: &str, port: u16) -> String {
    host.parse().map_or_else(|_| format!("{host}:{port}"), |ip| SocketAddr::new(ip, port).to_string())
}

fn reason(source: &io::Error, port: u16) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => match port_holder(port) {
            Some(holder) => format!("the port is taken by {holder}"),
            None => "the port is taken".to_owned(),
        },
        io::ErrorKind::PermissionDenied => "this user may not listen on ports below 1024".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => source.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_names_the_way_out() {
        let first = bind("127.0.0.1", 0, "API_PORT").await.unwrap();
        let port = first.local_addr().unwrap().port();
        let error = bind("127.0.0.1", port, "API_PORT or LLMO_GATEWAY__PORT").await.unwrap_err();
        assert!(error.is_taken());
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot listen on 127.0.0.1:{port}: the port is taken by ")), "{text}");
        assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
        assert!(text.ends_with("choose another port with API_PORT or LLMO_GATEWAY__PORT"), "{text}");
    }

    #[tokio::test]
    async fn ipv6_addresses_are_taken_with_and_without_brackets() {
        for host in ["::1", "[::1]"] {
            if let Err(error) = bind(host, 0, "API_PORT").await {
                assert!(error.addr.starts_with("[::1]:"), "{}", error.addr);
            }
        }
    }
}
