//! Are the ports free, and may this user open them? If not: who has them, and the way out.

use std::io::ErrorKind;
use std::net::TcpListener;

use llmo_config::Config;
use llmo_server::port_holder::port_holder;

use super::Finding;
use super::{engine, services};
use crate::cli::Layout;

struct Port<'a> {
    what: &'static str,
    host: &'a str,
    port: u16,
    variable: &'static str,
    other: u16,
}

pub(super) fn check(config: &Config, layout: Layout) -> Vec<Finding> {
    let port = |what, host, port, variable, other| Port { what, host, port, variable, other };
    let (gateway, model) = (&config.gateway, &config.model);
    let mut ports = vec![
        port("the API", gateway.host.as_str(), gateway.port, "API_PORT", 8000),
        port("the dashboard", &gateway.dashboard_host, gateway.dashboard_port, "DASHBOARD_PORT", 8090),
    ];
    if layout == Layout::Services {
        // In containers these are not the machine's.
        ports.extend([
            port("the model service", &model.host, model.port, "MODEL_SERVICE_PORT", 8091),
            port("the cache service", &config.cache.host, config.cache.port, "CACHE_SERVICE_PORT", 8092),
            port("the storage service", &config.store.host, config.store.port, "STORAGE_SERVICE_PORT", 8093),
        ]);
    }
    ports.iter().filter(|port| port.port != 0).map(|port| finding(port, layout)).collect()
}

/// Who holds the port, in words; `Ok` if that is the stack itself.
fn holder(port: u16) -> Result<String, String> {
    let holder = port_holder(port);
    if let Some(holder) = &holder
        && services::is_ours(&services::run_dir(), holder.pid)
    {
        return Ok(format!("used by this stack: {holder}"));
    }
    // The engine's own process holds what a container publishes; without one (userland-proxy off) nobody seems to.
    if holder.as_ref().is_none_or(|holder| holder.name.starts_with("docker")) {
        let containers = engine::publishers(port);
        let own = format!("{}-", engine::project());
        if let Some(name) = containers.iter().find(|name| name.starts_with(&own)) {
            return Ok(format!("used by this stack: container {name}"));
        }
        if !containers.is_empty() {
            return Err(format!("container {} (docker stop {})", containers.join(", "), containers.join(" ")));
        }
    }
    Err(holder.map_or_else(
        || "another process (its name is hidden from this user; try: sudo ss -ltnp)".to_owned(),
        |holder| holder.to_string(),
    ))
}

fn finding(wanted: &Port<'_>, layout: Layout) -> Finding {
    let Port { what, host, port, variable, other } = wanted;
    let cure = format!("choose another port, e.g. {variable}={other} (environment or .env)");
    match TcpListener::bind((*host, *port)) {
        Ok(_) => Finding::fine(format!("port {port} for {what} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => match holder(*port) {
            Ok(ours) => Finding::fine(format!("port {port} for {what} is {ours}")),
            Err(holder) => Finding::problem(format!("port {port} for {what} is taken by {holder}"), cure),
        },
        Err(error) if error.kind() == ErrorKind::PermissionDenied && layout == Layout::Containers => {
            Finding::fine(format!("port {port} for {what} is opened by the container engine, which may"))
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Finding::problem(format!("port {port} for {what} may only be opened by root here"), cure)
        }
        Err(error) => Finding::problem(
            format!("{what} cannot listen on {host}:{port}: {error}"),
            format!("check the address in the configuration, or {cure}"),
        ),
    }
}
