//! `llmo-gateway`: the gateway as a program of its own. (`llmo serve gateway` does the same from the command line.)

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use llmo_config::Loader;
use llmo_server::allocator::Mimalloc;
use llmo_server::http::shutdown_on_signal;
use llmo_server::telemetry;

#[global_allocator]
static ALLOCATOR: Mimalloc = Mimalloc;

/// llmo's gateway: what clients talk to.
#[derive(Debug, Parser)]
#[command(name = "llmo-gateway", version)]
struct Arguments {
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

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
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
    let loaded = loader.load()?;
    let _telemetry = telemetry::start(&loaded.config, Some("gateway"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        llmo_gateway::run_reloading(&loaded, shutdown_on_signal()).await?;
        Ok(())
    })
}
