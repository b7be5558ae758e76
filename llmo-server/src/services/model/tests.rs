//! Models that come and go, with the simulator as their engine.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use llmo_config::{Config, EngineKind};
use llmo_core::model::{KeepAlive, ResidenceState};
use llmo_core::{GenerateRequest, ModelError, Models};
use serde_json::json;

use super::LocalModels;

const KIB: u64 = 1 << 10;

/// A store with models of these sizes, and a budget of one MiB.
fn config(dir: &Path, models: &[(&str, u64)]) -> Config {
    for (id, bytes) in models {
        install(dir, id, *bytes);
    }
    let mut config = Config::default();
    config.store.dir = dir.to_owned();
    config.store.sources.clear();
    config.model.engine = EngineKind::Sim;
    config.model.sim_tokens_per_second = 200.0;
    config.model.names.clear();
    config.model.memory_budget_mb = 1;
    config.model.min_resident_seconds = 0;
    config
}

fn install(dir: &Path, id: &str, bytes: u64) {
    std::fs::create_dir_all(dir.join(id)).unwrap();
    std::fs::write(dir.join(id).join("model.gguf"), vec![0; usize::try_from(bytes).unwrap()]).unwrap();
    let file = json!({"name": "model.gguf", "size": bytes, "sha256": "7".repeat(64)});
    let manifest = json!({"format": 1, "id": id, "task": "generate", "weights": "gguf", "files": [file]});
    std::fs::write(dir.join(id).join("manifest.json"), manifest.to_string()).unwrap();
}

async fn start(config: &Config) -> Arc<LocalModels> {
    LocalModels::start(config).await.unwrap()
}

fn short() -> GenerateRequest {
    GenerateRequest::ask("hello").max_tokens(2)
}

async fn ask(models: &LocalModels, name: &str, request: GenerateRequest) -> Result<String, ModelError> {
    let stream = models.resolve(name).await?.generate(request).await?;
    Ok(stream.collect_all().await?.0.text)
}

async fn loaded(models: &LocalModels) -> Vec<String> {
    let running = models.running().await;
    running.into_iter().filter(|m| m.residence.state == ResidenceState::Loaded).map(|m| m.info.id).collect()
}

async fn eventually(what: &str, models: &LocalModels, wanted: &[&str]) {
    let start = Instant::now();
    while loaded(models).await != wanted {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: {:?} are loaded", loaded(models).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn loads(models: &LocalModels) -> u64 {
    models.shelf.attempts.load(Ordering::Relaxed) - 1
}

#[tokio::test]
async fn installed_models_are_listed_and_loaded_when_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let models = start(&config(dir.path(), &[("a", 100 * KIB), ("b", 100 * KIB)])).await;
    let ids: Vec<_> = models.list().await.into_iter().map(|info| info.id).collect();
    assert_eq!(ids, ["a", "b"]);
    assert!(models.ready().is_ok());
    let absent = models.resolve("b").await.unwrap().load().residence.unwrap();
    assert_eq!((absent.state, loads(&models)), (ResidenceState::Absent, 0));
    ask(&models, "b", short()).await.unwrap();
    let running = models.running().await;
    assert_eq!(running.len(), 1);
    assert_eq!((running[0].info.id.as_str(), running[0].residence.bytes), ("b", 100 * KIB));
    assert!(running[0].residence.expires_at.is_some() && !running[0].residence.pinned);
    // Without pinned models the first installed one is the default.
    assert_eq!(models.resolve("").await.unwrap().info().id, "a");
    assert_eq!(ask(&models, "c", short()).await.unwrap_err().code(), "model_not_found");
}

#[tokio::test]
async fn twenty_first_requests_are_one_load() {
    let dir = tempfile::tempdir().unwrap();
    let models = start(&config(dir.path(), &[("a", KIB)])).await;
    let all = join_all((0..20).map(|_| ask(&models, "a", short()))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(loads(&models), 1);
}

#[tokio::test]
async fn a_model_goes_to_make_room_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let models = start(&config(dir.path(), &[("a", 600 * KIB), ("b", 600 * KIB), ("c", 100 * KIB)])).await;
    for name in ["a", "c", "b"] {
        ask(&models, name, short()).await.unwrap();
    }
    assert_eq!(loaded(&models).await, ["b", "c"]);
    ask(&models, "a", short()).await.unwrap();
    assert_eq!(loaded(&models).await, ["a", "c"]);
}

#[tokio::test]
async fn a_model_that_has_just_come_is_not_sent_away_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), &[("a", 600 * KIB), ("b", 600 * KIB)]);
    config.model.min_resident_seconds = 60;
    let models = start(&config).await;
    ask(&models, "a", short()).await.unwrap();
    for _ in 0..3 {
        let error = ask(&models, "b", short()).await.unwrap_err();
        let ModelError::Overloaded { retry_after, .. } = error else { panic!("{error}") };
        assert!((Duration::from_secs(30)..=Duration::from_secs(60)).contains(&retry_after), "{retry_after:?}");
        ask(&models, "a", short()).await.unwrap();
    }
    assert_eq!(loaded(&models).await, ["a"]);
}

#[tokio::test]
async fn a_model_with_streams_stays_until_they_end() {
    let dir = tempfile::tempdir().unwrap();
    let models = start(&config(dir.path(), &[("a", 600 * KIB), ("b", 600 * KIB)])).await;
    let long = GenerateRequest::ask("hello").max_tokens(30_000);
    let mut stream = models.resolve("a").await.unwrap().generate(long).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let hurried = short().deadline_after(Instant::now(), Duration::from_millis(200));
    assert_eq!(ask(&models, "b", hurried).await.unwrap_err().code(), "deadline_exceeded");
    let waiting = tokio::spawn({
        let models = Arc::clone(&models);
        async move { ask(&models, "b", short()).await }
    });
    stream.next().await.unwrap().unwrap();
    assert_eq!(loaded(&models).await, ["a"]);
    models.resolve("a").await.unwrap().keep(KeepAlive::NOT_AT_ALL).await.unwrap();
    stream.next().await.unwrap().expect("told to go, and there as long as it has work");
    drop(stream);
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(loaded(&models).await, ["b"]);
}

#[tokio::test]
async fn too_many_do_not_wait_for_a_load() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), &[("a", 600 * KIB), ("b", 600 * KIB)]);
    config.model.max_queued = 3;
    config.model.load_wait_seconds = 1;
    let models = start(&config).await;
    let stream = models.resolve("a").await.unwrap().generate(short().max_tokens(30_000)).await.unwrap();
    let outcomes = join_all((0..8).map(|_| ask(&models, "b", short()))).await;
    let errors: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().unwrap_err().to_string()).collect();
    assert_eq!(errors.iter().filter(|error| error.contains("3 requests wait")).count(), 5, "{errors:?}");
    drop(stream);
}

#[tokio::test]
async fn keep_alive_says_how_long_a_model_stays() {
    let dir = tempfile::tempdir().unwrap();
    let models = start(&config(dir.path(), &[("a", KIB)])).await;
    let mut request = short();
    request.keep_alive = Some(KeepAlive::NOT_AT_ALL);
    ask(&models, "a", request.clone()).await.unwrap();
    eventually("keep_alive 0", &models, &[]).await;
    request.keep_alive = Some(KeepAlive::Forever);
    ask(&models, "a", request.clone()).await.unwrap();
    // What was said last holds for requests that say nothing.
    ask(&models, "a", short()).await.unwrap();
    assert_eq!(models.running().await[0].residence.expires_at, None);
    request.keep_alive = Some(KeepAlive::For(Duration::from_millis(50)));
    ask(&models, "a", request).await.unwrap();
    eventually("a short keep_alive", &models, &[]).await;
    let model = models.resolve("a").await.unwrap();
    model.keep(KeepAlive::Forever).await.unwrap();
    assert_eq!(loaded(&models).await, ["a"]);
    model.keep(KeepAlive::NOT_AT_ALL).await.unwrap();
    assert_eq!(loaded(&models).await, [""; 0]);
}

#[tokio::test]
async fn pinned_models_never_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), &[("a", 600 * KIB), ("b", 600 * KIB)]);
    config.model.names = vec!["a".into()];
    let models = start(&config).await;
    eventually("the start", &models, &["a"]).await;
    let error = ask(&models, "b", short()).await.unwrap_err();
    assert_eq!(error.code(), "unsupported");
    assert!(error.to_string().contains("memory_budget_mb"), "{error}");
    let a = models.resolve("a").await.unwrap();
    assert_eq!(a.keep(KeepAlive::NOT_AT_ALL).await.unwrap_err().code(), "unsupported");
    let mut request = short();
    request.keep_alive = Some(KeepAlive::NOT_AT_ALL);
    ask(&models, "a", request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(models.running().await[0].residence.pinned);
}

#[tokio::test]
async fn a_model_deleted_while_it_streams_goes_when_the_stream_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let models = start(&config(dir.path(), &[("a", KIB), ("b", KIB)])).await;
    let long = GenerateRequest::ask("hello").max_tokens(30_000);
    let mut stream = models.resolve("a").await.unwrap().generate(long).await.unwrap();
    std::fs::remove_dir_all(dir.path().join("a")).unwrap();
    let start = Instant::now();
    while models.resolve("a").await.is_ok() {
        assert!(start.elapsed() < Duration::from_secs(20), "it is still known");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..3 {
        stream.next().await.unwrap().expect("the stream goes on");
    }
    assert_eq!(models.shelf.leaving.lock().len(), 1);
    drop(stream);
    let start = Instant::now();
    while !models.shelf.leaving.lock().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "it is still in memory");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_failure_that_will_not_pass_is_told_and_not_repeated_for_each_request() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), &[("a", KIB)]);
    config.model.engine = EngineKind::Auto;
    let models = start(&config).await;
    for _ in 0..3 {
        let error = ask(&models, "a", short()).await.unwrap_err();
        assert_eq!(error.code(), "model_corrupt", "{error}");
    }
    assert_eq!(loads(&models), 1);
    // Another installation under this name is another matter.
    install(dir.path(), "a", 2 * KIB);
    let manifest = std::fs::read_to_string(dir.path().join("a/manifest.json")).unwrap();
    std::fs::write(
        dir.path().join("a/manifest.json"),
        manifest.replace("\"format\":1", "\"format\":1,\"installed\":7"),
    )
    .unwrap();
    let start = Instant::now();
    while loads(&models) == 1 {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody tried again");
        let _ = ask(&models, "a", short()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
