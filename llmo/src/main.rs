//! `llmo`: the command line of the llmo stack.

#[macro_use]
mod output;
mod cli;
mod commands;
mod connect;
mod docker;
mod doctor;
mod error;
mod logs;
mod progress;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command, SettingFlags};
use error::{CliError, Result};
use llmo_config::{Loaded, Loader};
use llmo_server::allocator::Mimalloc;
use llmo_server::http::shutdown_on_signal;

#[global_allocator]
static ALLOCATOR: Mimalloc = Mimalloc;

fn main() -> ExitCode {
    if let Some(code) = llmo_server::services::model::native_child() {
        return code;
    }
    let cli = Cli::parse();
    if matches!(cli.command, Command::Engine) {
        return engine();
    }
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError::Reported) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, CliError::Config(_)) { 2 } else { 1 })
        }
    }
}

/// The process of an engine of `llmo serve model`.
#[cfg(unix)]
fn engine() -> ExitCode {
    llmo_server::services::model::child::engine::run()
}

#[cfg(not(unix))]
fn engine() -> ExitCode {
    eprintln!("error: engines have processes of their own only on Unix");
    ExitCode::FAILURE
}

fn run(cli: &Cli) -> Result {
    match &cli.command {
        Command::Completions { shell } => {
            commands::shell::completions(*shell);
            return Ok(());
        }
        Command::Man { dir } => return commands::shell::man(dir.as_deref()),
        Command::Logs(arguments) => return logs::run(arguments),
        _ => {}
    }
    let loaded = load(&cli.settings)?;
    match &cli.command {
        Command::Key { action } => return commands::key::run(action, &loaded.config),
        Command::Usage(arguments) => return commands::usage::run(arguments, &loaded.config),
        Command::Config { action } => return commands::config::run(action, &loaded),
        Command::Doctor(arguments) => return doctor::run(arguments, &loaded.config),
        _ => {}
    }
    let _telemetry = llmo_server::telemetry::start(&loaded.config, cli.command.service());
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::io("cannot start the asynchronous runtime"))?
        .block_on(dispatch(&cli.command, &loaded))
}

async fn dispatch(command: &Command, loaded: &Loaded) -> Result {
    let config = &loaded.config;
    match command {
        Command::Up => commands::up::run(loaded, shutdown_on_signal()).await,
        Command::Serve { role } => commands::serve::run(*role, loaded, shutdown_on_signal()).await,
        Command::Pull(arguments) => commands::pull::run(arguments, config).await,
        Command::List { all, json } => commands::library::list(config, *all, *json).await,
        Command::Show { model, json } => commands::show::show(config, model, *json).await,
        Command::Rm { models } => commands::library::remove(config, models).await,
        Command::Run(arguments) => commands::run::run(arguments, config).await,
        Command::Chat(arguments) => commands::chat::run(arguments, config).await,
        #[cfg(feature = "llama-cpp")]
        Command::Tune(arguments) => commands::tune::run(arguments, config).await,
        #[cfg(not(feature = "llama-cpp"))]
        Command::Tune(_) => Err(CliError::Message("this program was built without llama.cpp".into())),
        Command::Ps { json } => commands::ps::run(config, *json).await,
        Command::Healthcheck(arguments) => commands::healthcheck::run(arguments, config).await,
        Command::Config { .. }
        | Command::Key { .. }
        | Command::Usage(_)
        | Command::Doctor(_)
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::Logs(_)
        | Command::Engine => Ok(()),
    }
}

fn load(flags: &SettingFlags) -> Result<Loaded> {
    let mut loader = Loader::from_process();
    if let Some(file) = &flags.config {
        loader = loader.file(file);
    }
    loader = loader.assign(&flags.preset, &flags.set);
    Ok(loader.load()?)
}
