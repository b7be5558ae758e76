//! The real engine in a process of its own.

use std::path::PathBuf;
use std::sync::Arc;

use llmo_config::ModelConfig;
use llmo_core::conformance::model::{ModelSuite, check};
use llmo_core::{GenerateRequest, Model, ModelError};
use llmo_server::services::model::child::{ChildModel, Spec};
use rustix::process::Signal;

use crate::subject::{answered, ask, end, kill, options, restarts, running};

/// # Panics
/// Without weights. Skipping would report success for nothing.
fn weights() -> PathBuf {
    let directory = std::env::var_os("LLMO_TEST_MODELS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../models")), PathBuf::from);
    let path = directory.join("smollm2-135m/model.gguf");
    assert!(path.is_file(), "no weights at {}: set LLMO_TEST_MODELS", path.display());
    path
}

async fn smollm2() -> Arc<ChildModel> {
    // One thread: see llmo-backends/tests/llama_cpp/support.rs.
    let config = ModelConfig { context_length: 1024, slots: 8, threads: 1, ..ModelConfig::default() };
    Arc::new(ChildModel::load(Spec::gguf(weights(), "smollm2-135m", None, &config), options()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_engine_in_another_process_is_a_model() {
    check(smollm2().await, ModelSuite::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_real_streams_survive_their_engine_and_it_answers_as_before() {
    let model = smollm2().await;
    let capital = || GenerateRequest::complete("The capital of France is").max_tokens(4);
    let (before, _) = model.generate(capital()).await.unwrap().collect_all().await.unwrap();
    assert!(before.text.contains("Paris"), "{}", before.text);
    let mut streams = Vec::new();
    for n in 0..8 {
        let mut request = ask(n).max_tokens(900);
        // No end of text before the kill.
        request.sampling.logit_bias = vec![(0, -100.0), (2, -100.0)];
        streams.push(running(&*model, request).await);
    }
    kill(&model, Signal::KILL).await;
    for stream in streams {
        let error = end(stream).await.unwrap_err();
        assert!(matches!(&error, ModelError::EngineDied { started: true, .. }), "{error}");
    }
    let (after, _) = model.generate(capital()).await.unwrap().collect_all().await.unwrap();
    assert_eq!(after.text, before.text);
    assert_eq!(answered(&*model, ask(0).max_tokens(5)).await.unwrap(), 5);
    assert_eq!(restarts(&model, "killed"), 1);
}

#[tokio::test]
async fn what_the_engine_says_of_a_file_is_what_callers_hear() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"GGUF but not really").unwrap();
    let spec = Spec::gguf(file.path(), "broken", None, &ModelConfig::default());
    let error = ChildModel::load(spec, options()).await.unwrap_err();
    assert!(matches!(&error, ModelError::Corrupt { model, .. } if model == "broken"), "{error}");
}
