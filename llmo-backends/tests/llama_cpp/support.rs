//! The model under test.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use llmo_backends::llama_cpp::{LlamaCpp, LlamaCppOptions};
use llmo_core::model::{Delta, Finish, Load};
use llmo_core::{GenerateRequest, Model, ModelError};

/// The weights of SmolLM2-135M-Instruct.
///
/// # Panics
/// Without them. Skipping would report success for nothing.
pub(crate) fn weights() -> PathBuf {
    let directory = std::env::var_os("LLMO_TEST_MODELS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../models")), PathBuf::from);
    let path = directory.join("smollm2-135m/model.gguf");
    assert!(
        path.is_file(),
        "no weights at {}: run `./run_microservices.sh test`, which fetches them, or set LLMO_TEST_MODELS to the \
         directory that holds smollm2-135m/model.gguf",
        path.display()
    );
    path
}

/// Options for tests: small contexts, so that many engines fit into memory.
pub(crate) fn options() -> LlamaCppOptions {
    let mut options = LlamaCppOptions::default();
    options.id = Some("smollm2-135m".into());
    (options.slots, options.context_length) = (4, Some(1024));
    // Two threads meet at a barrier after each operation. Where other processes want the cores too, as in CI, each
    // barrier costs a time slice, and one thread is ten times as fast.
    options.threads = Some(1);
    options
}

/// An engine of its own.
pub(crate) fn load(options: LlamaCppOptions) -> Arc<LlamaCpp> {
    Arc::new(LlamaCpp::load(&weights(), options).expect("the weights load"))
}

/// One engine for all tests that leave it as they found it.
pub(crate) fn shared() -> Arc<LlamaCpp> {
    static MODEL: OnceLock<Arc<LlamaCpp>> = OnceLock::new();
    Arc::clone(MODEL.get_or_init(|| load(options())))
}

/// Runs a request to its end.
pub(crate) async fn run(model: &LlamaCpp, request: GenerateRequest) -> Result<(Delta, Finish), ModelError> {
    model.generate(request).await?.collect_all().await
}

/// Waits until this is true of the model's load.
pub(crate) async fn until(model: &LlamaCpp, what: impl Fn(&Load) -> bool) {
    let start = Instant::now();
    while !what(&model.load()) {
        assert!(start.elapsed() < Duration::from_secs(60), "still {:?}", model.load());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs an ignored test of this program in a process of its own, where no other test loads engines.
pub(crate) fn alone(test: &str) {
    alone_with(&[], test);
}

/// The same, with environment variables.
pub(crate) fn alone_with(variables: &[(&str, &str)], test: &str) {
    let program = std::env::current_exe().expect("this program has a path");
    let output = std::process::Command::new(program)
        .args(["--exact", test, "--ignored", "--nocapture"])
        .envs(variables.iter().copied())
        .output()
        .expect("this program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}
