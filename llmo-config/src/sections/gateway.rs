//! The gateway.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Secret;

/// The gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Address to listen on. `0.0.0.0` opens the API to the network.
    pub host: String,
    /// Port of the API (`API_PORT`).
    pub port: u16,
    /// Address of the dashboard and of the admin plane.
    pub dashboard_host: String,
    /// Port of the dashboard; 0: none (`DASHBOARD_PORT`).
    pub dashboard_port: u16,
    /// Base URLs of model services, or of any OpenAI-compatible servers. Empty: the local model service.
    pub upstreams: Vec<String>,
    /// The API key of these, sent as a bearer token; empty: none. `[[upstreams]]` have keys of their own.
    pub upstream_api_key: Secret,
    /// Base URL under which a proxy in front (Traefik) reaches this gateway; empty: the host that the proxy asked.
    pub advertise: String,
    /// For model services: dashboard addresses of gateways (`http://HOST:8080`) to announce themselves at.
    pub register: Vec<String>,
    /// How a replica is chosen.
    pub policy: Policy,
    /// With `policy = "consistent-hash"`: which requests belong together.
    pub hash_on: HashOn,
    /// With `policy = "prefix-aware"`: most bytes that the index of prompts' beginnings takes.
    pub prefix_index_bytes: usize,
    /// Time between health checks of a healthy replica.
    pub health_interval_ms: u64,
    /// Time between health checks of an unhealthy replica.
    pub unhealthy_interval_ms: u64,
    /// A health check that takes longer has failed.
    pub health_timeout_ms: u64,
    /// Longest wait for a connection to a replica.
    pub connect_timeout_ms: u64,
    /// Longest wait for the first token.
    pub first_token_timeout_seconds: u64,
    /// Longest wait between two tokens.
    pub idle_timeout_seconds: u64,
    /// How long a stream whose replica died looks for another that goes on with it; 0: it ends with an error.
    pub continuation_timeout_seconds: u64,
    /// Most attempts for one request, the first included.
    pub max_attempts: u32,
    /// Retries may be this share of requests…
    pub retry_budget_percent: u32,
    /// …but so many are always allowed, per ten seconds.
    pub retry_budget_min: u32,
    /// A request whose first token takes longer than that of so many percent of requests is sent to a second replica too;
    /// 95, say. Counts against the retry budget. 0: never.
    pub hedge_percentile: u32,
    /// Most requests of one model being served at once. Where replicas tell how many slots they have, those (and an eighth
    /// more) are the limit, if that is less; where they don't, it is found by how quickly they begin to answer.
    pub max_concurrent: usize,
    /// Most requests of one model waiting for their turn; one more is refused with 429.
    pub max_queued: usize,
    /// Every answer says why its replica was chosen, in the header `x-llmo-route`. Without it only those do whose requests
    /// say `x-llmo-explain: route`.
    pub explain_route: bool,
    /// Longest wait for a turn. What would wait longer, or past its deadline, is refused with 429 at once.
    pub max_queue_seconds: u64,
    /// File of API keys; only requests that carry one of them are answered then. Read again when it changes. Empty: everybody
    /// who reaches the port may ask.
    pub keys_file: PathBuf,
    /// File with a line for each request that was answered: who used how many tokens of which model. Empty: none.
    pub usage_file: PathBuf,
    /// At this size, in MiB, it is put aside, and another begun. Nothing is deleted.
    pub usage_file_mb: u64,
    /// Who a request belongs to where tenants take turns, have limits, and answers are cached for each. With `keys_file` the
    /// key says it.
    pub tenant_from: TenantFrom,
    /// Shares of tenants relative to others, where they are not 1: `{ search = 3.0 }`. Tenants by API key have names that
    /// the log of a refused request tells.
    pub tenant_weights: BTreeMap<String, f64>,
    /// Most tokens that each tenant may ask for in a minute, prompts and `max_tokens` together; more is refused with 429.
    /// 0: no limit.
    pub tenant_tokens_per_minute: u64,
    /// Where that is counted.
    pub limits_backend: LimitsBackend,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 80,
            dashboard_host: "127.0.0.1".into(),
            dashboard_port: 8080,
            upstreams: Vec::new(),
            upstream_api_key: Secret::default(),
            advertise: String::new(),
            register: Vec::new(),
            policy: Policy::PowerOfTwo,
            hash_on: HashOn::Conversation,
            prefix_index_bytes: 16 << 20,
            health_interval_ms: 2_000,
            unhealthy_interval_ms: 500,
            health_timeout_ms: 600,
            connect_timeout_ms: 1_000,
            first_token_timeout_seconds: 120,
            idle_timeout_seconds: 30,
            continuation_timeout_seconds: 10,
            max_attempts: 3,
            retry_budget_percent: 20,
            retry_budget_min: 3,
            hedge_percentile: 0,
            max_concurrent: 2_048,
            max_queued: 512,
            explain_route: false,
            max_queue_seconds: 30,
            keys_file: PathBuf::new(),
            usage_file: PathBuf::new(),
            usage_file_mb: 64,
            tenant_from: TenantFrom::Header,
            tenant_weights: BTreeMap::new(),
            tenant_tokens_per_minute: 0,
            limits_backend: LimitsBackend::Local,
        }
    }
}

/// Where the use of tenants is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LimitsBackend {
    /// In the gateway: each of several counts for itself.
    #[default]
    Local,
    /// In Redis (`cache.redis_url`), for all gateways together; locally while it does not answer.
    Redis,
}

/// What tells tenants apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TenantFrom {
    /// The header `x-llmo-tenant`. Only where callers are trusted, or something in front sets it.
    #[default]
    Header,
    /// The API key: its hash is the tenant's name, and the header means nothing.
    ApiKey,
    /// Nothing: all are one.
    None,
}

/// How the gateway chooses a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Policy {
    /// The less loaded of two chosen by chance.
    #[default]
    PowerOfTwo,
    /// One after the other.
    RoundRobin,
    /// The one with the fewest requests a slot.
    LeastRequests,
    /// The one with the fewest tokens to read and write, a slot.
    LeastTokens,
    /// Requests of one key to one replica, as long as it has room.
    ConsistentHash,
    /// Where a prompt with the same beginning went before, as long as load stays balanced.
    PrefixAware,
}

/// Which requests belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HashOn {
    /// Those of one conversation: that begin with the same messages up to the first of the user.
    #[default]
    Conversation,
    /// Those of one tenant.
    Tenant,
}
