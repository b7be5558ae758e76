//! The ports that a way of running opens on this machine, and a free one to choose instead. Pure.

use llmo_config::{CacheBackend, Config};

use super::Scene;
use crate::cli::{Layout, Part};

/// A port of this machine that the stack wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    /// Whose it is, e.g. `the API`.
    pub(super) what: &'static str,
    pub(super) host: String,
    pub(super) port: u16,
    /// Chooses another one.
    pub(super) variable: &'static str,
}

/// All of them. `variable` is what the environment says, for what is no setting of llmo's.
pub(super) fn ports(config: &Config, scene: &Scene, variable: impl Fn(&str) -> Option<String>) -> Vec<Port> {
    let mut ports = match scene.layout {
        Layout::Containers => of_containers(config, scene, &variable),
        Layout::Services => [of_gateway(config), of_services(config)].concat(),
        Layout::Mono => of_gateway(config),
    };
    if scene.has(Part::Monitoring) {
        let mut monitor = |what, name, default| ports.push(port(what, HOME, number(&variable, name, default), name));
        monitor("Prometheus", "PROMETHEUS_PORT", 9090);
        monitor("Alertmanager", "ALERTMANAGER_PORT", 9093);
        // In containers exporters publish nothing.
        if !scene.in_containers() {
            monitor("node-exporter", "NODE_EXPORTER_PORT", 9100);
            if matches!(config.cache.service_backend, CacheBackend::Redis | CacheBackend::Tiered) {
                monitor("Redis' exporter", "REDIS_EXPORTER_PORT", 9121);
            }
        }
    }
    // 0: none.
    ports.retain(|port| port.port != 0);
    ports
}

const HOME: &str = "127.0.0.1";

fn port(what: &'static str, host: &str, port: u16, variable: &'static str) -> Port {
    Port { what, host: host.to_owned(), port, variable }
}

fn number(variable: impl Fn(&str) -> Option<String>, name: &str, default: u16) -> u16 {
    variable(name).and_then(|text| text.trim().parse().ok()).unwrap_or(default)
}

fn of_gateway(config: &Config) -> Vec<Port> {
    let gateway = &config.gateway;
    let mut ports = vec![
        port("the API", &gateway.host, gateway.port, "API_PORT"),
        port("the dashboard", &gateway.dashboard_host, gateway.dashboard_port, "DASHBOARD_PORT"),
    ];
    if config.tls.is_on() {
        ports.push(port("the way to TLS", &gateway.host, config.tls.redirect_port, "LLMO_TLS__REDIRECT_PORT"));
    }
    ports
}

fn of_services(config: &Config) -> Vec<Port> {
    vec![
        port("the model service", &config.model.host, config.model.port, "MODEL_SERVICE_PORT"),
        port("the cache service", &config.cache.host, config.cache.port, "CACHE_SERVICE_PORT"),
        port("the storage service", &config.store.host, config.store.port, "STORAGE_SERVICE_PORT"),
    ]
}

/// What `docker/compose.yaml` publishes.
fn of_containers(config: &Config, scene: &Scene, variable: impl Fn(&str) -> Option<String>) -> Vec<Port> {
    let api = variable("API_BIND").unwrap_or_else(|| HOME.to_owned());
    let gateway = &config.gateway;
    let plain = port("the API", &api, number(&variable, "API_PORT", gateway.port), "API_PORT");
    let secure = port("the API over TLS", &api, number(&variable, "HTTPS_PORT", 443), "HTTPS_PORT");
    // The gateway has one port; Traefik leads from the plain one to the other.
    let mut ports = match (scene.has(Part::Tls), scene.has(Part::Traefik)) {
        (false, _) => vec![plain],
        (true, false) => vec![secure],
        (true, true) => vec![plain, secure],
    };
    let dashboard = number(&variable, "DASHBOARD_PORT", gateway.dashboard_port);
    if scene.has(Part::Traefik) {
        ports.push(port("Traefik's dashboard", HOME, dashboard, "DASHBOARD_PORT"));
        let own = number(&variable, "LLMO_DASHBOARD_PORT", 8090);
        ports.push(port("the dashboard", HOME, own, "LLMO_DASHBOARD_PORT"));
    } else {
        ports.push(port("the dashboard", HOME, dashboard, "DASHBOARD_PORT"));
    }
    if scene.has(Part::Grafana) {
        ports.push(port("Grafana", HOME, number(&variable, "GRAFANA_PORT", 3000), "GRAFANA_PORT"));
    }
    ports
}

/// A port to take instead of this one: near where people look for it, wanted by nothing else of the stack (`all`), and free.
pub(super) fn instead(wanted: &Port, all: &[Port], is_free: impl Fn(&str, u16) -> bool) -> Option<u16> {
    let first = match wanted.port {
        443 => 8443,
        0..1024 => wanted.port + 7920,
        other => other.saturating_add(10),
    };
    (first..=first.saturating_add(199))
        .find(|&port| all.iter().all(|each| each.port != port) && is_free(&wanted.host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(scene: &Scene, environment: &[(&str, &str)]) -> Vec<(&'static str, u16)> {
        let variable =
            |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        ports(&Config::default(), scene, variable).into_iter().map(|port| (port.variable, port.port)).collect()
    }

    #[test]
    fn every_port_that_processes_open_is_there() {
        let mut scene = Scene { layout: Layout::Services, parts: vec![Part::Monitoring] };
        let services = found(&scene, &[("PROMETHEUS_PORT", "9999")]);
        for expected in
            [("API_PORT", 80), ("MODEL_SERVICE_PORT", 8081), ("PROMETHEUS_PORT", 9999), ("NODE_EXPORTER_PORT", 9100)]
        {
            assert!(services.contains(&expected), "{services:?}");
        }
        scene = Scene::of(Layout::Mono);
        assert_eq!(found(&scene, &[]), [("API_PORT", 80), ("DASHBOARD_PORT", 8080)]);
    }

    #[test]
    fn every_port_that_containers_publish_is_there_and_no_other() {
        let mut scene = Scene::of(Layout::Containers);
        assert_eq!(found(&scene, &[]), [("API_PORT", 80), ("DASHBOARD_PORT", 8080)]);
        scene.parts = vec![Part::Traefik, Part::Monitoring, Part::Grafana, Part::S3];
        let all = [
            ("API_PORT", 8000),
            ("DASHBOARD_PORT", 8080),
            ("LLMO_DASHBOARD_PORT", 8090),
            ("GRAFANA_PORT", 3000),
            ("PROMETHEUS_PORT", 9090),
            ("ALERTMANAGER_PORT", 9093),
        ];
        assert_eq!(found(&scene, &[("API_PORT", "8000")]), all);
        scene.parts = vec![Part::Traefik, Part::Tls];
        assert_eq!(found(&scene, &[])[..2], [("API_PORT", 80), ("HTTPS_PORT", 443)]);
        scene.parts = vec![Part::Tls];
        assert_eq!(found(&scene, &[]), [("HTTPS_PORT", 443), ("DASHBOARD_PORT", 8080)]);
    }

    #[test]
    fn only_the_api_of_containers_may_be_elsewhere_than_at_home() {
        let scene = Scene { layout: Layout::Containers, parts: vec![Part::Traefik] };
        let ports = ports(&Config::default(), &scene, |name| (name == "API_BIND").then(|| "0.0.0.0".to_owned()));
        let hosts: Vec<_> = ports.iter().map(|port| port.host.as_str()).collect();
        assert_eq!(hosts, ["0.0.0.0", "127.0.0.1", "127.0.0.1"]);
    }

    #[test]
    fn what_is_suggested_is_free_and_nobody_else_s() {
        let dashboard = port("the dashboard", HOME, 8080, "DASHBOARD_PORT");
        let all = [dashboard.clone(), port("llmo's", HOME, 8090, "LLMO_DASHBOARD_PORT")];
        assert_eq!(instead(&dashboard, &all, |_, port| port != 8091), Some(8092));
        let api = port("the API", HOME, 80, "API_PORT");
        assert_eq!(instead(&api, &[], |_, _| true), Some(8000));
        assert_eq!(instead(&api, &[], |_, _| false), None);
        assert_eq!(instead(&port("x", HOME, 65_530, "X"), &[], |_, _| true), Some(65_535));
    }
}
