//! The engine's side: a process that loads one model and does what the service at the other end of its standard input says.
//!
//! * `process`: what kind of process it is. `serve`: commands in, reports out. `answer`: one request.

mod answer;
mod process;
mod serve;

use std::process::ExitCode;
use std::time::Duration;

/// Threads for messages; the engine brings its own.
const WORKERS: usize = 2;
/// How long threads that still work may hold up the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// The whole life of an engine process. A program that wants its engines isolated calls this when its arguments are
/// those of [`ChildOptions`](super::ChildOptions), before anything else.
#[must_use]
pub fn run() -> ExitCode {
    let socket = match process::settle() {
        Ok(socket) => socket,
        Err(error) => {
            eprintln!("error: {error}: an engine process is started by the model service, not by hand");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime for the engine: {error}");
            return ExitCode::FAILURE;
        }
    };
    let served = runtime.block_on(serve::serve(socket));
    runtime.shutdown_timeout(PATIENCE);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
