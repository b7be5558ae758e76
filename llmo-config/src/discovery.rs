//! `[discovery]`: how a gateway finds model services, and how they make themselves known.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a gateway finds model services, besides `gateway.upstreams` and `[[upstreams]]`. All that is set is used at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DiscoveryConfig {
    /// A file of `[[upstreams]]` and `[[routes]]` that is read again whenever it changes; empty: none.
    pub file: PathBuf,
    /// Look for changes of files this often.
    pub file_interval_ms: u64,
    /// Names whose addresses are model services: `HOST:PORT` (A and AAAA records) or `_SERVICE._tcp.DOMAIN` (SRV
    /// records).
    pub dns: Vec<String>,
    /// The DNS server to ask, `IP:PORT`; empty: the system's.
    pub dns_server: String,
    /// Names are resolved again after this time, or sooner if their records say so.
    pub dns_interval_ms: u64,
    /// Docker's socket: containers with the label `llmo.enable=true` are model services; empty: none.
    pub docker: PathBuf,
    /// The Docker network whose addresses are used; empty: the first that a container is in.
    pub docker_network: String,
    /// Kubernetes services whose endpoints are model services: `SERVICE:PORT` or `NAMESPACE/SERVICE:PORT`; the port by
    /// number or by name.
    pub kubernetes: Vec<String>,
    /// Base URL of the Kubernetes API; empty: the cluster's own.
    pub kubernetes_api: String,
    /// Directory of `token`, `ca.crt` and `namespace`.
    pub kubernetes_credentials: PathBuf,
    /// Model services may announce themselves at this gateway's dashboard port.
    pub registry: bool,
    /// Redis in which several gateways share what was announced to any of them; empty: each knows its own.
    pub registry_redis: String,
    /// What model services must show to be let in, the same on both sides. Without it only services of this machine are.
    pub token: String,
    /// A model service that was not heard of for this long is forgotten.
    pub lease_seconds: u64,
    /// The URL under which gateways reach this model service; empty: this machine's address, seen from the gateway.
    pub advertise: String,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self {
            file: PathBuf::new(),
            file_interval_ms: 250,
            dns: Vec::new(),
            dns_server: String::new(),
            dns_interval_ms: 5_000,
            docker: PathBuf::new(),
            docker_network: String::new(),
            kubernetes: Vec::new(),
            kubernetes_api: String::new(),
            kubernetes_credentials: "/var/run/secrets/kubernetes.io/serviceaccount".into(),
            registry: false,
            registry_redis: String::new(),
            token: String::new(),
            lease_seconds: 15,
            advertise: String::new(),
        }
    }
}

impl DiscoveryConfig {
    /// Does a gateway look anywhere?
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.registry
            || !(self.file.as_os_str().is_empty()
                && self.dns.is_empty()
                && self.docker.as_os_str().is_empty()
                && self.kubernetes.is_empty())
    }
}
