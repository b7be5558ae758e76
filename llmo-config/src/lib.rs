//! The one configuration of the llmo stack.
//!
//! Every role reads the same [`Config`], from the same places, each overriding the one before:
//!
//! ```text
//! defaults ─► llmo.toml ─► .env ─► environment (API_PORT, …, LLMO_SECTION__KEY) ─► flags (--set section.key=value)
//! ```
//!
//! [`Loader`] does the reading and remembers where each value came from, so that `llmo config print` can tell. A key
//! that doesn't exist is an error with a suggestion, never silently ignored.
//!
//! This is a crate of its own because the gateway, the services and the command line share it and none of them should
//! depend on another for it.

mod adapter;
mod discovery;
mod error;
mod layers;
mod load;
mod origin;
mod routes;
mod secret;
mod sections;
mod spec_env;

pub use adapter::AdapterConfig;
pub use discovery::DiscoveryConfig;
pub use error::ConfigError;
pub use load::{Loaded, Loader};
pub use origin::Origin;
pub use routes::{RouteConfig, RouteTarget, UpstreamConfig};
pub use secret::Secret;
pub use sections::{
    CacheBackend, CacheConfig, Choice, Config, EngineKind, GatewayConfig, HashOn, Int8Weights, Isolation, KvChoice,
    LimitsBackend, LimitsConfig, LogConfig, LogFormat, ModelConfig, Policy, StoreBackend, StoreConfig, TenantFrom,
    TlsConfig, TraceConfig, Tune,
};
