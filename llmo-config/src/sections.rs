//! The configuration's types and defaults. Units are in the names.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{AdapterConfig, DiscoveryConfig, RouteConfig, UpstreamConfig};

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
    /// Who a request belongs to where tenants take turns, have limits, and answers are cached for each.
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
            max_concurrent: 512,
            max_queued: 512,
            explain_route: false,
            max_queue_seconds: 30,
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

/// The model service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Address to listen on.
    pub host: String,
    /// Port (`MODEL_SERVICE_PORT`).
    pub port: u16,
    /// Models to serve, by their names in the catalogue or in the store; the first is the default.
    pub names: Vec<String>,
    /// A GGUF file to serve as the default model instead (`MODEL_PATH`).
    pub path: Option<PathBuf>,
    /// Which engine runs GGUF models.
    pub engine: EngineKind,
    /// Longest prompt plus output, in tokens; 0: the model's own, at most 8192.
    pub context_length: u32,
    /// Sequences decoded at once; 0: chosen by the engine.
    pub slots: u32,
    /// Threads of the engine; 0: one a physical core.
    pub threads: u32,
    /// Most requests waiting for a slot; one more is refused with 429.
    pub max_queued: usize,
    /// Serve models in 8 bits (`USE_INT8`): weights as `int8_weights` says, keys and values where perplexity allows.
    pub int8: bool,
    /// Where beginnings that many prompts share are kept as computed, so that they survive a restart and reach other
    /// replicas: `store` for where the weights are, a directory, or the base URL of a storage service; empty: nowhere.
    /// Entries hold the tokens of those beginnings.
    pub prefix_store: String,
    /// Most bytes of these entries for each model; the oldest go first.
    pub prefix_store_max_bytes: u64,
    /// Most of these entries for each model.
    pub prefix_store_max_entries: usize,
    /// With `int8`: whose weights are converted to 8 bits, on first load, and kept.
    pub int8_weights: Int8Weights,
    /// Measure which options are fast on this machine when a model is loaded for the first time.
    pub tune: Tune,
    /// Where measurements are remembered; empty: `llmo/tune` in the user's state directory.
    pub tune_dir: PathBuf,
    /// How keys and values are stored.
    pub kv_type: KvChoice,
    /// Fused attention. An 8-bit cache needs it.
    pub flash_attention: Choice,
    /// Threads that read prompts; 0: as many as `threads`, or what the tuner finds.
    pub threads_batch: u32,
    /// Most tokens of prompts that are read between two tokens of running streams; 0: 128, or what the tuner finds.
    pub prefill_chunk: u32,
    /// Most tokens that are computed at once; 0: a whole run, or what the tuner finds.
    pub micro_batch: u32,
    /// Where native engines run: auto, process or none.
    pub isolation: Isolation,
    /// An engine that has work and gets nothing done for so many seconds is ended and started again. Only in a process
    /// of its own.
    pub stall_seconds: u64,
    /// Guess tokens ahead from what a stream holds already, where that is faster. The output stays the same.
    pub speculation: bool,
    /// Fetch a model of the catalogue when it is first asked for. Otherwise only installed models are loaded.
    pub auto_pull: bool,
    /// How long a model that was loaded on demand stays in memory after its last use; 0: not at all, -1: for ever. The
    /// models in `names` stay in any case.
    pub keep_alive_seconds: i64,
    /// Most memory that all models together may take, in MiB; 0: three quarters of what this machine, or this
    /// container, has.
    pub memory_budget_mb: u64,
    /// Longest time that a request waits for its model to be loaded.
    pub load_wait_seconds: u64,
    /// A model that was loaded less than this ago is not unloaded to make room for another.
    pub min_resident_seconds: u64,
    /// LoRA adapters. Each is a model of its own, called `MODEL:NAME`.
    pub adapters: Vec<AdapterConfig>,
    /// Simulator only: tokens a second and stream.
    pub sim_tokens_per_second: f64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8081,
            names: vec!["smollm2-135m".into(), "minilm-l6".into()],
            path: None,
            engine: EngineKind::Auto,
            context_length: 0,
            slots: 0,
            threads: 0,
            max_queued: 64,
            int8: false,
            speculation: true,
            prefix_store: String::new(),
            prefix_store_max_bytes: 1 << 30,
            prefix_store_max_entries: 64,
            int8_weights: Int8Weights::Auto,
            tune: Tune::Auto,
            tune_dir: PathBuf::new(),
            kv_type: KvChoice::Auto,
            flash_attention: Choice::Auto,
            threads_batch: 0,
            prefill_chunk: 0,
            micro_batch: 0,
            isolation: Isolation::Auto,
            stall_seconds: 120,
            auto_pull: false,
            keep_alive_seconds: 300,
            memory_budget_mb: 0,
            load_wait_seconds: 120,
            min_resident_seconds: 10,
            adapters: Vec::new(),
            sim_tokens_per_second: 100.0,
        }
    }
}

/// Where native engines (llama.cpp) run. They can abort the process they are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Isolation {
    /// In a process of their own under the model service; in the same process under `llmo up`.
    #[default]
    Auto,
    /// Each in a process of its own: an abort ends that process only.
    Process,
    /// In the process that loads them.
    None,
}

impl Isolation {
    /// What a model service takes for `auto`.
    #[must_use]
    pub fn in_service(self) -> Self {
        if self == Self::Auto { Self::Process } else { self }
    }
}

impl ModelConfig {
    /// The directory of measurements: `tune_dir`, or `llmo/tune` in the user's state directory (`XDG_STATE_HOME`, `HOME`).
    #[must_use]
    pub fn tune_directory(&self) -> PathBuf {
        if !self.tune_dir.as_os_str().is_empty() {
            return self.tune_dir.clone();
        }
        state_directory().join("llmo/tune")
    }
}

/// The user's state directory (`XDG_STATE_HOME`, `HOME`).
fn state_directory() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || set("HOME").map(|home| home.join(".local/state"));
    set("XDG_STATE_HOME").or_else(home).unwrap_or_else(|| PathBuf::from("/var/lib"))
}

/// Whether to measure which options are fast, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Tune {
    /// Never; measurements that there are are not used.
    Off,
    /// A few seconds when a model is loaded for the first time on this machine.
    #[default]
    Auto,
    /// Some minutes when a model is loaded for the first time on this machine.
    Full,
}

/// Whose weights are converted to 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Int8Weights {
    /// Those that are stored in more than 8 bits, and those in fewer where the model takes less memory all the same,
    /// because its KV cache shrinks by more than its weights grow.
    #[default]
    Auto,
    /// All.
    Always,
    /// None.
    Never,
}

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KvChoice {
    /// 16 bits, or what the tuner finds.
    #[default]
    Auto,
    /// 16-bit floats.
    F16,
    /// 8-bit integers.
    Q8_0,
}

/// Yes, no, or what is found to be better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Choice {
    /// What is found to be better.
    #[default]
    Auto,
    /// Yes.
    On,
    /// No.
    Off,
}

/// What runs GGUF models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EngineKind {
    /// llama.cpp if it is compiled in, else candle.
    #[default]
    Auto,
    /// llama.cpp.
    #[serde(alias = "llama.cpp")]
    LlamaCpp,
    /// candle.
    Candle,
    /// The simulator: numbered tokens, no weights. For tests.
    Sim,
}

/// The response cache and the cache service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// What a gateway, or `llmo up`, caches answers in.
    pub backend: CacheBackend,
    /// What the cache service itself keeps entries in: memory, redis or tiered.
    pub service_backend: CacheBackend,
    /// Address of the cache service.
    pub host: String,
    /// Port of the cache service (`CACHE_SERVICE_PORT`).
    pub port: u16,
    /// Base URL of the cache service for its clients; empty: the local one.
    pub url: String,
    /// Redis, for the backends redis and tiered (`REDIS_URL`).
    pub redis_url: String,
    /// Most memory, in bytes.
    pub max_bytes: u64,
    /// Largest entry, in bytes.
    pub max_entry_bytes: u64,
    /// How long an answer is kept.
    pub ttl_seconds: u64,
    /// A cache that takes longer is left out.
    pub timeout_ms: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            backend: CacheBackend::Memory,
            service_backend: CacheBackend::Memory,
            host: "127.0.0.1".into(),
            port: 8082,
            url: String::new(),
            redis_url: "redis://127.0.0.1:6379/0".into(),
            max_bytes: 256 << 20,
            max_entry_bytes: 1 << 20,
            ttl_seconds: 3_600,
            timeout_ms: 20,
        }
    }
}

/// What entries are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CacheBackend {
    /// No cache.
    Off,
    /// This process.
    #[default]
    Memory,
    /// Redis.
    Redis,
    /// This process, with Redis behind it.
    Tiered,
    /// The cache service.
    Remote,
}

/// The store and the storage service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Where weights are kept.
    pub backend: StoreBackend,
    /// Directory of weights on this machine; empty: `llmo/models` in the user's data directory.
    pub dir: PathBuf,
    /// Address of the storage service.
    pub host: String,
    /// Port of the storage service (`STORAGE_SERVICE_PORT`).
    pub port: u16,
    /// Base URL of the storage service for its clients; empty: the local one.
    pub url: String,
    /// Where models are pulled from, in order: `hub`, `registry`.
    pub sources: Vec<String>,
    /// Base URL of the model hub (`HF_ENDPOINT`).
    pub hub_endpoint: String,
    /// S3 bucket, for the backend s3.
    pub s3_bucket: String,
    /// S3 region.
    pub s3_region: String,
    /// S3 endpoint; empty: the cloud provider's own.
    pub s3_endpoint: String,
    /// Prefix of all objects in the bucket.
    pub s3_prefix: String,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            backend: StoreBackend::Local,
            dir: PathBuf::new(),
            host: "127.0.0.1".into(),
            port: 8083,
            url: String::new(),
            sources: vec!["hub".into(), "registry".into()],
            hub_endpoint: "https://huggingface.co".into(),
            s3_bucket: String::new(),
            s3_region: "us-east-1".into(),
            s3_endpoint: String::new(),
            s3_prefix: String::new(),
        }
    }
}

impl StoreConfig {
    /// The directory of weights: `dir`, or `llmo/models` in the user's data directory (`XDG_DATA_HOME`, `HOME`).
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        if !self.dir.as_os_str().is_empty() {
            return self.dir.clone();
        }
        let data = std::env::var_os("XDG_DATA_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
        let home = || std::env::var_os("HOME").filter(|v| !v.is_empty()).map(|h| PathBuf::from(h).join(".local/share"));
        data.or_else(home).unwrap_or_else(|| PathBuf::from("/var/lib")).join("llmo/models")
    }
}

/// Where weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StoreBackend {
    /// A directory.
    #[default]
    Local,
    /// S3, or what speaks its protocol.
    S3,
    /// The storage service; weights are fetched into the directory when they are needed.
    Remote,
}

/// Bounds that hold for every service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest request body (the storage service takes larger ones).
    pub max_body_bytes: usize,
    /// Longest wait for a request's headers.
    pub header_timeout_seconds: u64,
    /// Longest wait for a request's body.
    pub body_timeout_seconds: u64,
    /// Longest wait for a client that does not read.
    pub write_timeout_seconds: u64,
    /// Most open connections of one service.
    pub max_connections: usize,
    /// Longest time for one request; a request may ask for less.
    pub request_timeout_seconds: u64,
    /// On shutdown: go on accepting this long after becoming unready.
    pub drain_delay_ms: u64,
    /// On shutdown: running streams may go on this long.
    pub drain_grace_seconds: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 8 << 20,
            header_timeout_seconds: 10,
            body_timeout_seconds: 30,
            write_timeout_seconds: 60,
            max_connections: 4_096,
            request_timeout_seconds: 600,
            drain_delay_ms: 0,
            drain_grace_seconds: 30,
        }
    }
}

/// Logs. They never hold prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,llmo_gateway=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Traces. The headers `traceparent` and `tracestate` are accepted and passed on in any case; these settings are about
/// spans of our own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceConfig {
    /// Base URL of an OpenTelemetry collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`; empty: spans are
    /// not exported (`OTEL_EXPORTER_OTLP_ENDPOINT`). Needs the feature `otlp`.
    pub otlp_endpoint: String,
    /// Share of the traces begun here that are recorded, 0.0 to 1.0. For traces of callers, they decide.
    pub sample_ratio: f64,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self { otlp_endpoint: String::new(), sample_ratio: 1.0 }
    }
}

/// TLS at the gateway's port. On as soon as there is a certificate: files, or names for which one is to be had by ACME.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// File with the certificate chain, in PEM form. It is read again when it changes.
    pub cert: PathBuf,
    /// File with its private key, in PEM form.
    pub key: PathBuf,
    /// Time between two looks at these files.
    pub reload_interval_ms: u64,
    /// A plain port that sends everybody to the port with TLS, and answers challenges of certificate authorities; 0: none.
    pub redirect_port: u16,
    /// Names to get a certificate for from a certificate authority that speaks ACME. The authority must reach this gateway
    /// under them: at port 80, if there is a `redirect_port`, else at port 443.
    pub acme_domains: Vec<String>,
    /// The authority's directory.
    pub acme_directory: String,
    /// Where the authority writes before a certificate expires, e.g. `mailto:ops@example.org`.
    pub acme_contact: Vec<String>,
    /// You have read the authority's terms of service and agree. Without it no account is made.
    pub acme_terms_agreed: bool,
    /// Where account, key and certificate are kept; empty: `llmo/acme` in the user's state directory.
    pub acme_dir: PathBuf,
    /// File with the root certificate of an authority that this machine does not know, for tests.
    pub acme_root: PathBuf,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            cert: PathBuf::new(),
            key: PathBuf::new(),
            reload_interval_ms: 2_000,
            redirect_port: 0,
            acme_domains: Vec::new(),
            acme_directory: "https://acme-v02.api.letsencrypt.org/directory".into(),
            acme_contact: Vec::new(),
            acme_terms_agreed: false,
            acme_dir: PathBuf::new(),
            acme_root: PathBuf::new(),
        }
    }
}

impl TlsConfig {
    /// Is TLS wanted?
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.cert.as_os_str().is_empty() || !self.key.as_os_str().is_empty() || !self.acme_domains.is_empty()
    }

    /// Where account, key and certificate are kept.
    #[must_use]
    pub fn acme_directory_on_disk(&self) -> PathBuf {
        if self.acme_dir.as_os_str().is_empty() { state_directory().join("llmo/acme") } else { self.acme_dir.clone() }
    }
}
