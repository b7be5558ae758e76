//! The configuration's types and defaults. Units are in the names.

mod cache;
mod gateway;
mod limits;
mod log;
mod model;
mod store;
mod tls;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{DiscoveryConfig, RouteConfig, UpstreamConfig};

pub use cache::{CacheBackend, CacheConfig};
pub use gateway::{GatewayConfig, HashOn, LimitsBackend, Policy, TenantFrom};
pub use limits::LimitsConfig;
pub use log::{LogConfig, LogFormat, TraceConfig};
pub use model::{Choice, EngineKind, Int8Weights, Isolation, KvChoice, ModelConfig, Tune};
pub use store::{StoreBackend, StoreConfig};
pub use tls::TlsConfig;

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What clients talk to.
    pub gateway: GatewayConfig,
    /// The service that runs models.
    pub model: ModelConfig,
    /// The response cache, and the cache service.
    pub cache: CacheConfig,
    /// Where weights are kept, and the storage service.
    pub store: StoreConfig,
    /// Bounds that hold for every service.
    pub limits: LimitsConfig,
    /// Logs.
    pub log: LogConfig,
    /// Traces.
    pub trace: TraceConfig,
    /// TLS at the gateway.
    pub tls: TlsConfig,
    /// How a gateway finds model services.
    pub discovery: DiscoveryConfig,
    /// Model services, with what there is to say of them (`gateway.upstreams` has just URLs).
    pub upstreams: Vec<UpstreamConfig>,
    /// Which model a request goes to; without routes the one that it names.
    pub routes: Vec<RouteConfig>,
}

impl Config {
    /// The model service's part, with `prefix_store = "store"` replaced by where that is: what an engine in another process
    /// can do without the rest.
    #[must_use]
    pub fn for_engines(&self) -> ModelConfig {
        let mut model = self.model.clone();
        if model.prefix_store == "store" {
            model.prefix_store = match self.store.backend {
                StoreBackend::Remote if self.store.url.is_empty() => {
                    format!("http://{}:{}", self.store.host, self.store.port)
                }
                StoreBackend::Remote => self.store.url.clone(),
                // An engine has no keys of a bucket; its own machine's directory serves restarts.
                _ => self.store.directory().display().to_string(),
            };
        }
        model
    }
}

/// The user's state directory (`XDG_STATE_HOME`, `HOME`).
fn state_directory() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || set("HOME").map(|home| home.join(".local/state"));
    set("XDG_STATE_HOME").or_else(home).unwrap_or_else(|| PathBuf::from("/var/lib"))
}
