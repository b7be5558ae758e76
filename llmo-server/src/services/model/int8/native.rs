//! What native code does in a process of its own: an abort, or a disk that fills up, ends that process and nothing else.
//!
//! `PROGRAM native quantize SOURCE TARGET` converts to Q8_0. `PROGRAM native profile FILE CONFIGURATION` loads and measures a
//! file as the configuration (JSON) would serve it, and prints a line of JSON. Not for people: no help lists it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use llmo_config::ModelConfig;
use llmo_core::store::StoreError;
use llmo_store::ModelsError;
use serde_json::Value;

const WORD: &str = "native";
/// Exit status of a process that found no space left on the disk.
const NO_SPACE: u8 = 28;

/// If this process was started for native work, does it and says how to exit. Programs whose models may be converted call
/// this first.
#[must_use]
pub fn child() -> Option<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [word, verb, rest @ ..] if word == WORD => Some(work(verb.to_str().unwrap_or_default(), rest)),
        _ => None,
    }
}

#[cfg(feature = "llama-cpp")]
fn work(verb: &str, arguments: &[OsString]) -> ExitCode {
    use llmo_backends::llama_cpp::quantize::{QuantizeError, WeightType, quantize};
    use llmo_backends::llama_cpp::tune::profile;
    // llama.cpp's log goes to standard error, where the parent looks for reasons.
    let filter = tracing_subscriber::EnvFilter::new("warn");
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
    let outcome = match (verb, arguments) {
        ("quantize", [source, target]) => match quantize(Path::new(source), Path::new(target), WeightType::Q8_0) {
            Err(error @ QuantizeError::NoSpace(_)) => {
                eprintln!("error: {error}");
                return ExitCode::from(NO_SPACE);
            }
            outcome => outcome.map_err(|e| e.to_string()),
        },
        ("profile", [file, config]) => config
            .to_str()
            .ok_or_else(|| "the configuration is not UTF-8".to_owned())
            .and_then(|text| serde_json::from_str::<ModelConfig>(text).map_err(|e| e.to_string()))
            .and_then(|config| {
                let mut options = super::super::engine::llama_cpp_options("profile", None, &config);
                if config.int8 && options.kv_type.is_none() {
                    options.kv_type = Some(llmo_backends::llama_cpp::KvType::Q8_0);
                }
                profile(Path::new(file), &options).map_err(|e| e.to_string())
            })
            .and_then(|profile| serde_json::to_string(&profile).map_err(|e| e.to_string()))
            .map(|line| println!("{line}")),
        _ => Err(format!("there is no native work {verb:?} with {} arguments", arguments.len())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(feature = "llama-cpp"))]
fn work(_: &str, _: &[OsString]) -> ExitCode {
    eprintln!("error: this program was built without llama.cpp");
    ExitCode::FAILURE
}

/// The program whose `main` calls [`child`]: this one if it is ours. `None` in somebody else's program that uses the library.
fn program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let name = program.file_stem()?.to_str()?;
    matches!(name, "llmo" | "llmo-server").then_some(program)
}

async fn run(arguments: &[&OsString]) -> Result<Vec<u8>, ModelsError> {
    let doing = format!("native {}", arguments[0].to_string_lossy());
    let failed = |reason: String| {
        let source = std::io::Error::other(reason);
        ModelsError::from(StoreError::Io { context: format!("{doing}: {source}"), source })
    };
    let Some(program) = program() else {
        return Err(failed("weights are only converted by llmo and llmo-server, in a process of their own".into()));
    };
    let mut command = tokio::process::Command::new(program);
    command.arg(WORD).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|e| failed(format!("can't be started: {e}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    if output.status.code() == Some(i32::from(NO_SPACE)) {
        return Err(StoreError::NoSpace("the 8-bit weights".into()).into());
    }
    // The last lines: whatever native code said before it ended.
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.lines().rev().take(4).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(failed(format!("{}: {}", output.status, last.join("; "))))
}

/// Writes `source` to `target` as Q8_0, in a process of its own.
pub(super) async fn quantize(source: &Path, target: &Path) -> Result<(), ModelsError> {
    let (verb, source, target) = (OsString::from("quantize"), source.into(), target.into());
    run(&[&verb, &source, &target]).await.map(drop)
}

/// What a file costs and gives, served as `config` says, measured in a process of its own.
pub(super) async fn profile(file: &Path, config: &ModelConfig) -> Result<Value, ModelsError> {
    let text = serde_json::to_string(config).unwrap_or_default();
    let (verb, file, text) = (OsString::from("profile"), file.into(), text.into());
    let printed = run(&[&verb, &file, &text]).await?;
    Ok(serde_json::from_slice(&printed).unwrap_or_default())
}
