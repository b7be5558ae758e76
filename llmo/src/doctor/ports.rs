//! Are the ports free, and may this user open them? If not: who has them, and the way out.

use std::io::ErrorKind;
use std::net::TcpListener;

use llmo_config::Config;
use llmo_server::port_holder::port_holder;

use super::Finding;
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
        ports.extend([
            port("the model service", &model.host, model.port, "MODEL_SERVICE_PORT", 8091),
            port("the cache service", &config.cache.host, config.cache.port, "CACHE_SERVICE_PORT", 8092),
            port("the storage service", &config.store.host, config.store.port, "STORAGE_SERVICE_PORT", 8093),
        ]);
    }
    ports.iter().filter(|port| port.port != 0).map(finding).collect()
}

fn finding(wanted: &Port<'_>) -> Finding {
    let Port { what, host, port, variable, other } = wanted;
    let cure = format!("choose another port, e.g. {variable}={other} (environment or .env)");
    match TcpListener::bind((*host, *port)) {
        Ok(_) => Finding::fine(format!("port {port} for {what} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let holder = port_holder(*port).map_or_else(
                || "another process (its name is hidden from this user)".to_owned(),
                |holder| holder.to_string(),
            );
            Finding::problem(format!("port {port} for {what} is taken by {holder}"), cure)
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
