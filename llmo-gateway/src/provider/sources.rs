//! The sources that a configuration names.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use llmo_config::{Config, Loaded, UpstreamConfig};
use parking_lot::Mutex;
use serde_json::Value;

use super::dns::DnsProvider;
use super::docker::DockerProvider;
use super::file::FileProvider;
use super::kubernetes::KubernetesProvider;
use super::registry::{Registry, RegistryProvider, SharedRegistry};
use super::target::without_login;
use super::{Board, Desired, Provider, Reading, Sink, Target};
use crate::keys::KeyRing;
use crate::upstream_url::upstream_urls;
use crate::{GatewayError, local};

/// What the configuration itself wants.
///
/// # Errors
/// [`GatewayError::InvalidUpstream`], [`GatewayError::Discovery`].
pub fn configured(config: &Config) -> Result<Desired, GatewayError> {
    let mut targets = Vec::new();
    for url in upstream_urls(config)? {
        let mut upstream = UpstreamConfig::new(url);
        // Whose URL has a login needs no key.
        if without_login(&upstream.url) == upstream.url {
            upstream.api_key = config.gateway.upstream_api_key.clone();
        }
        targets.push(Target::from_config(&upstream).map_err(|error| GatewayError::Discovery(error.to_string()))?);
    }
    let more = Desired::from_config(&config.upstreams, &config.routes)
        .map_err(|error| GatewayError::Discovery(error.to_string()))?;
    for target in more.targets {
        // What has more to say of an upstream than its URL is right.
        targets.retain(|known| known.url != target.url);
        targets.push(target);
    }
    Ok(Desired { targets, routes: more.routes })
}

/// What the configuration wants of a gateway whose only replica is its own process.
#[must_use]
pub fn configured_locally(config: &Config) -> Desired {
    let targets = Target::new(local::LOCAL_URL).into_iter().collect();
    Desired { targets, routes: config.routes.clone() }
}

/// Watches the configuration's own file. Only upstreams and routes are taken from it while the gateway runs; of whatever
/// else changed is said that it needs a restart.
pub fn own_file(
    loaded: Loaded,
    file: PathBuf,
    wants: impl Fn(&Config) -> Result<Desired, String> + Send + Sync + 'static,
) -> Arc<dyn Provider> {
    let interval = Duration::from_millis(loaded.config.discovery.file_interval_ms);
    let told = Mutex::new(Vec::new());
    let read = move || {
        let new = loaded.reload().map_err(|error| error.to_string())?;
        let changed = needs_restart(&loaded.config, &new.config);
        let mut told = told.lock();
        if !changed.is_empty() && *told != changed {
            tracing::warn!(settings = changed.join(", "), "these changed settings hold from the next start on");
        }
        told.clone_from(&changed);
        Ok(Reading { desired: wants(&new.config)?, changed: false, at_restart: changed })
    };
    Arc::new(FileProvider::new("config", file, interval, Arc::new(read)))
}

/// Watches the file of API keys. It names no replicas and no routes; what is wrong with it is told like that of other files.
pub fn keys_file(ring: &Arc<KeyRing>, interval: Duration) -> Arc<dyn Provider> {
    let (path, ring) = (ring.path().to_owned(), Arc::clone(ring));
    let read = move || ring.reload().map(|changed| Reading { changed, ..Reading::default() });
    Arc::new(FileProvider::new("keys", path, interval, Arc::new(read)))
}

/// The registry at which model services announce themselves, if there is one.
///
/// # Errors
/// [`GatewayError::Discovery`] if the shared registry's address can't be used.
pub fn registry(config: &Config) -> Result<Option<Arc<Registry>>, GatewayError> {
    let discovery = &config.discovery;
    if !discovery.registry {
        return Ok(None);
    }
    let shared = match discovery.registry_redis.as_str() {
        "" => None,
        url => Some(SharedRegistry::new(url).map_err(GatewayError::Discovery)?),
    };
    let usual = Duration::from_secs(discovery.lease_seconds.max(1));
    Ok(Some(Arc::new(Registry::new(usual, &discovery.token, &config.gateway.advertise, shared))))
}

/// A source, and where what it says goes.
pub type Watched = (Arc<dyn Provider>, Sink);

/// The other sources.
///
/// # Errors
/// [`GatewayError::Discovery`] for a setting that can't be used.
pub fn discovered(
    config: &Config,
    registry: Option<&Arc<Registry>>,
    board: &Board,
) -> Result<Vec<Watched>, GatewayError> {
    let discovery = &config.discovery;
    let mut sources: Vec<Arc<dyn Provider>> = Vec::new();
    if !discovery.file.as_os_str().is_empty() {
        let interval = Duration::from_millis(discovery.file_interval_ms);
        sources.push(Arc::new(FileProvider::of_lists(discovery.file.clone(), interval)));
    }
    let server = match discovery.dns_server.as_str() {
        "" => None,
        text => Some(dns_server(text)?),
    };
    let interval = Duration::from_millis(discovery.dns_interval_ms);
    for name in &discovery.dns {
        sources.push(Arc::new(DnsProvider::new(name, server, interval).map_err(GatewayError::Discovery)?));
    }
    if !discovery.docker.as_os_str().is_empty() {
        let network = Some(discovery.docker_network.clone()).filter(|name| !name.is_empty());
        sources.push(Arc::new(DockerProvider::new(&discovery.docker, network)));
    }
    for service in &discovery.kubernetes {
        let (api, credentials) = (&discovery.kubernetes_api, &discovery.kubernetes_credentials);
        sources.push(Arc::new(KubernetesProvider::new(service, api, credentials).map_err(GatewayError::Discovery)?));
    }
    if let Some(registry) = registry {
        sources.push(Arc::new(RegistryProvider(Arc::clone(registry))));
    }
    Ok(sources.into_iter().map(|source| (Arc::clone(&source), board.add(source.name()))).collect())
}

fn dns_server(text: &str) -> Result<SocketAddr, GatewayError> {
    let address = text.parse::<SocketAddr>().or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)));
    address.map_err(|_| GatewayError::Discovery(format!("discovery.dns_server is {text:?}; it must be IP:PORT")))
}

/// The settings, besides upstreams and routes, that differ.
fn needs_restart(running: &Config, new: &Config) -> Vec<String> {
    let tree = |config: &Config| serde_json::to_value(config).unwrap_or_default();
    let (running, new) = (tree(running), tree(new));
    let mut changed = Vec::new();
    for (section, fields) in running.as_object().into_iter().flatten() {
        for (key, value) in fields.as_object().into_iter().flatten() {
            let name = format!("{section}.{key}");
            let taken = ["gateway.upstreams", "gateway.upstream_api_key"].contains(&name.as_str());
            if !taken && new.get(section).and_then(|fields: &Value| fields.get(key)) != Some(value) {
                changed.push(name);
            }
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_settings_need_a_restart() {
        let running = Config::default();
        let mut new = running.clone();
        new.gateway.upstreams = vec!["http://a:1".into()];
        new.upstreams = vec![UpstreamConfig::new("http://b:1")];
        assert!(needs_restart(&running, &new).is_empty());
        new.gateway.port = 1;
        new.cache.ttl_seconds = 1;
        assert_eq!(needs_restart(&running, &new), ["gateway.port", "cache.ttl_seconds"]);
    }

    #[test]
    fn an_upstream_with_more_to_say_replaces_its_plain_url() {
        let mut config = Config::default();
        config.gateway.upstreams = vec!["http://a:1".into(), "http://b:1".into()];
        let mut heavy = UpstreamConfig::new("http://a:1/v1");
        heavy.weight = 9;
        config.upstreams = vec![heavy];
        let targets = configured(&config).expect("good upstreams").targets;
        let seen: Vec<_> = targets.iter().map(|target| (target.url.as_str(), target.weight)).collect();
        assert_eq!(seen, [("http://b:1", 1), ("http://a:1", 9)]);
    }

    #[test]
    fn the_local_model_service_is_used_only_if_nothing_else_is_named() {
        let mut config = Config::default();
        assert_eq!(configured(&config).expect("the default").targets[0].url, "http://127.0.0.1:8081");
        config.discovery.dns = vec!["models:8081".into()];
        assert!(configured(&config).expect("nothing yet").targets.is_empty());
        let config = Config { upstreams: vec![UpstreamConfig::new("http://a:1")], ..Config::default() };
        assert_eq!(configured(&config).expect("one").targets.len(), 1);
    }
}
