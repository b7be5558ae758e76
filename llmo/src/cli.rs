//! The command line's words. What each command does is in `commands/`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// An LLM stack: gateway, model service, cache and storage, as one process or many.
#[derive(Debug, Parser)]
#[command(name = "llmo", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SettingFlags {
    /// Configuration file (otherwise $LLMO_CONFIG, ./llmo.toml, ~/.config/llmo/llmo.toml, /etc/llmo/llmo.toml)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A setting that overrides all others, e.g. --set gateway.port=8000
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// A setting that anything else overrides
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE", hide = true)]
    pub(crate) preset: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything in one process: models, cache, API and dashboard
    Up,
    /// One service of the stack
    Serve {
        /// Which one
        role: Role,
    },
    /// Fetch models, or import a file of your own
    Pull(PullArgs),
    /// Models on this machine
    #[command(visible_alias = "ls")]
    List {
        /// Also those of the catalogue that have not been fetched
        #[arg(long)]
        all: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// What a model is: architecture, size, context, source; its 8-bit variant, and what the tuner found
    Show {
        /// Its name
        model: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure which options are fast for a model on this machine, and remember them
    Tune(TuneArgs),
    /// Delete models from this machine
    Rm {
        /// Their names
        #[arg(required = true)]
        models: Vec<String>,
    },
    /// Answer one prompt; uses the running stack, or loads the model itself
    Run(RunArgs),
    /// Talk with a model
    Chat(ChatArgs),
    /// What the running stack serves, and how busy it is
    Ps {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// The configuration
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// API keys of the gateway
    Key {
        #[command(subcommand)]
        action: KeyAction,
    },
    /// Who used how many tokens, from the gateway's ledger (gateway.usage_file)
    Usage(UsageArgs),
    /// Look for what is wrong on this machine, and say how to cure it
    Doctor(DoctorArgs),
    /// Ask a service of this machine whether it is ready; exit status 0 if it is (for containers)
    Healthcheck(HealthcheckArgs),
    /// What the services of this machine have logged, merged by time
    Logs(LogsArgs),
    /// The process of one engine; started by `llmo serve model`
    #[command(hide = true)]
    Engine,
    /// Completions for your shell, e.g. llmo completions bash > ~/.local/share/bash-completion/completions/llmo
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Manual pages
    Man {
        /// Write one page a command into this directory (otherwise the main page goes to standard output)
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

impl Command {
    /// The name of the service that it is, in logs and traces, if it is one.
    pub(crate) fn service(&self) -> Option<&'static str> {
        match self {
            Self::Up => Some("llmo"),
            Self::Serve { role: Role::Gateway } => Some("gateway"),
            Self::Serve { role: Role::Model } => Some("model-service"),
            Self::Serve { role: Role::Cache } => Some("cache-service"),
            Self::Serve { role: Role::Store } => Some("storage-service"),
            _ => None,
        }
    }
}

/// A service of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// What clients talk to
    Gateway,
    /// Runs models
    Model,
    /// Keeps answers
    Cache,
    /// Keeps weights
    Store,
}

#[derive(Debug, Args)]
pub(crate) struct HealthcheckArgs {
    /// Which service (`llmo up` is a gateway)
    #[arg(value_enum, default_value_t = Role::Gateway)]
    pub(crate) role: Role,
    /// Only whether it lives, not whether it is ready
    #[arg(long)]
    pub(crate) live: bool,
    /// Ask this base URL instead of the configured address
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Longest wait for the answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 3_000)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// Names in the catalogue (llmo list --all)
    #[arg(required = true)]
    pub(crate) models: Vec<String>,
    /// Import this file, or directory, under the given name instead of fetching
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Accept files whose hash the catalogue does not know
    #[arg(long)]
    pub(crate) unpinned: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TuneArgs {
    /// Its name (otherwise the default model)
    pub(crate) model: Option<String>,
    /// As at the first load: some seconds instead of some minutes
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measure and print, but remember nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Forget what is remembered of the model, on all machines that share the directory
    #[arg(long, conflicts_with_all = ["quick", "dry_run"])]
    pub(crate) forget: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How to generate.
#[derive(Debug, Clone, Args)]
pub(crate) struct Sampling {
    /// Most tokens to generate
    #[arg(long, short = 'n', value_name = "TOKENS")]
    pub(crate) max_tokens: Option<u32>,
    /// 0: always the likeliest token; up to 2
    #[arg(long, short, default_value_t = 0.0)]
    pub(crate) temperature: f32,
    /// Same seed, same answer
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The model (otherwise the default one)
    #[arg(long, short)]
    pub(crate) model: Option<String>,
    /// The prompt; none or "-": read standard input
    pub(crate) prompt: Vec<String>,
    /// Continue the text as it stands, without the chat template
    #[arg(long)]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
    /// Print one JSON object with text, usage and timings
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// The model (otherwise the default one)
    pub(crate) model: Option<String>,
    /// Instructions for the model
    #[arg(long, short)]
    pub(crate) system: Option<String>,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Read everything and say what is wrong
    Check,
    /// Every setting with its value and where it came from
    Print {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Only what isn't a default
        #[arg(long)]
        changed: bool,
    },
    /// One setting's value
    Get {
        /// Its key, e.g. gateway.port
        key: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Make a key: it is printed once, and its hash goes into the gateway's file of keys
    New(NewKeyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NewKeyArgs {
    /// What people call it, e.g. alice-laptop
    pub(crate) name: String,
    /// Whose requests these are, for queues, limits and caches (otherwise the name)
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// Only these models, e.g. --model smollm2-135m,qwen* (otherwise all)
    #[arg(long = "model", value_name = "NAME", value_delimiter = ',')]
    pub(crate) models: Vec<String>,
    /// When it ends: 2027-01-31, or 2027-01-31T12:00:00Z (otherwise never)
    #[arg(long, value_name = "DAY")]
    pub(crate) expires: Option<String>,
    /// The file of keys (otherwise gateway.keys_file; where that is not set, the entry is only printed)
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct UsageArgs {
    /// By what it is added up
    #[arg(long, value_enum, default_value_t = UsageBy::Tenant)]
    pub(crate) by: UsageBy,
    /// Only what ended since: 24h, 7days, 2026-11-01, 2026-11-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// The ledger (otherwise gateway.usage_file); files that were put aside from it are read too
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// By what usage is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UsageBy {
    /// Who asked
    Tenant,
    /// Which model answered
    Model,
    /// The day (UTC)
    Day,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Only these services, e.g. gateway model-service
    pub(crate) services: Vec<String>,
    /// Where their logs are
    #[arg(long, value_name = "DIR", default_value = "run", env = "LLMO_RUN_DIR")]
    pub(crate) dir: PathBuf,
    /// Of the stack's containers (COMPOSE_PROJECT_NAME, or llmo) instead of files
    #[arg(long)]
    pub(crate) containers: bool,
    /// So many lines of the past
    #[arg(long, short = 'n', default_value_t = 50)]
    pub(crate) lines: usize,
    /// Go on with what is written from now on
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only lines about this request: its x-request-id, or its trace
    #[arg(long, value_name = "ID")]
    pub(crate) request: Option<String>,
    /// Without the services' names
    #[arg(long)]
    pub(crate) raw: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Only these checks, e.g. --only ports
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Print nothing but problems
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Which way of running is looked at
    #[arg(long, value_enum, default_value_t = Layout::Services)]
    pub(crate) role: Layout,
    /// What is started beside the stack, and has ports too, e.g. --with traefik,monitoring
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) with: Vec<Part>,
}

/// What may be started beside the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Traefik in front of the gateway (containers)
    Traefik,
    /// Certificates of your own (containers)
    Tls,
    /// Prometheus, Alertmanager, exporters
    Monitoring,
    /// Dashboards of what is monitored (containers)
    Grafana,
    /// A bucket (containers)
    S3,
}

/// A way of running the stack on one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layout {
    /// Four services
    Services,
    /// One process
    Mono,
    /// Containers: `./run_microservices.sh run --docker`
    Containers,
}
