//! `llmo-server model|cache|store`: one service of the llmo stack. (`llmo serve` does the same from the command line.)

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use llmo_config::{Config, Loader};
use llmo_server::http::shutdown_on_signal;
use llmo_server::{services, telemetry};

/// One service of the llmo stack.
#[derive(Debug, Parser)]
#[command(name = "llmo-server", version)]
struct Arguments {
    /// Which service
    role: Role,
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting that overrides all others
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// A setting that anything else overrides
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    preset: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    /// Runs models
    Model,
    /// Keeps answers
    Cache,
    /// Keeps weights
    Store,
    /// The process of one engine; started by the model service
    #[value(hide = true)]
    Engine,
}

impl Role {
    /// Its name in logs and traces.
    fn service(self) -> &'static str {
        match self {
            Self::Model => "model-service",
            Self::Cache => "cache-service",
            Self::Store => "storage-service",
            Self::Engine => "engine",
        }
    }
}

fn main() -> ExitCode {
    if let Some(code) = services::model::native_child() {
        return code;
    }
    let arguments = Arguments::parse();
    if matches!(arguments.role, Role::Engine) {
        return engine();
    }
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let loader = Loader::from_process().assign(&arguments.preset, &arguments.set);
    let loader = arguments.config.iter().fold(loader, |loader, file| loader.file(file));
    let mut config = loader.load()?.config;
    config.model.isolation = config.model.isolation.in_service();
    let _telemetry = telemetry::start(&config, Some(arguments.role.service()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(arguments.role, &config))
}

#[cfg(unix)]
fn engine() -> ExitCode {
    services::model::child::engine::run()
}

#[cfg(not(unix))]
fn engine() -> ExitCode {
    eprintln!("error: engines have processes of their own only on Unix");
    ExitCode::FAILURE
}

async fn run(role: Role, config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let shutdown = shutdown_on_signal();
    match role {
        Role::Model => services::model::run(config, shutdown).await?,
        Role::Cache => services::cache::run(config, shutdown).await?,
        Role::Store => services::store::run(config, shutdown).await?,
        // Ended in `main` already.
        Role::Engine => {}
    }
    Ok(())
}
