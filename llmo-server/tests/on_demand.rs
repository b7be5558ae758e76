//! Models that come and go, with real weights: SmolLM2 on llama.cpp and MiniLM on candle.
#![cfg(all(feature = "llama-cpp", feature = "candle"))]
#![allow(missing_docs, clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use llmo_config::{AdapterConfig, Config};
use llmo_core::model::{Adapter, KeepAlive, LoadStep, ResidenceState};
use llmo_core::{EmbedRequest, GenerateRequest, ModelError, Models};
use llmo_server::services::model::LocalModels;
use support::eventually;

/// The folder of installed models that `LLMO_TEST_MODELS` names.
fn store() -> Option<PathBuf> {
    let dir = PathBuf::from(std::env::var_os("LLMO_TEST_MODELS")?);
    let there = ["smollm2-135m", "minilm-l6"].iter().all(|id| dir.join(id).join("manifest.json").exists());
    if !there {
        eprintln!("skipped: LLMO_TEST_MODELS holds no installed smollm2-135m and minilm-l6 (llmo pull)");
    }
    there.then_some(dir)
}

fn config(dir: &Path, budget_mb: u64) -> Config {
    let mut config = Config::default();
    config.store.dir = dir.to_owned();
    config.store.sources.clear();
    config.model.names.clear();
    config.model.context_length = 512;
    config.model.slots = 2;
    config.model.memory_budget_mb = budget_mb;
    config.model.min_resident_seconds = 0;
    config
}

async fn loaded(models: &LocalModels) -> Vec<String> {
    let running = models.running().await;
    running.into_iter().filter(|m| m.residence.state == ResidenceState::Loaded).map(|m| m.info.id).collect()
}

async fn complete(models: &LocalModels, name: &str, adapter: Option<Adapter>) -> Result<String, ModelError> {
    let mut request = GenerateRequest::complete("The capital of France is").max_tokens(12);
    request.adapter = adapter;
    let stream = models.resolve(name).await?.generate(request).await?;
    Ok(stream.collect_all().await?.0.text)
}

#[tokio::test]
async fn two_models_take_turns_where_only_one_has_room() {
    let Some(dir) = store() else { return };
    // SmolLM2 takes about 180 MiB here, MiniLM about 110.
    let models = LocalModels::start(&config(&dir, 230)).await.unwrap();
    let mut answers = Vec::new();
    let mut vectors = Vec::new();
    for _ in 0..2 {
        answers.push(complete(&models, "smollm2-135m", None).await.unwrap());
        assert_eq!(loaded(&models).await, ["smollm2-135m"]);
        let embedder = models.resolve("minilm-l6").await.unwrap();
        vectors.push(embedder.embed(EmbedRequest::new(["a cat"])).await.unwrap().vectors);
        assert_eq!(loaded(&models).await, ["minilm-l6"]);
    }
    assert!(answers[0].contains("Paris"), "{answers:?}");
    assert_eq!(answers[0], answers[1]);
    assert_eq!(vectors[0], vectors[1]);
}

#[tokio::test]
async fn what_is_counted_of_a_model_is_what_its_engine_takes() {
    let Some(dir) = store() else { return };
    const MIB: u64 = 1 << 20;
    // By itself llama.cpp would take much more here: 32 slots, or 15 % of the memory that is free.
    let mut config = config(&dir, 400);
    (config.model.slots, config.model.context_length) = (0, 0);
    let models = LocalModels::start(&config).await.unwrap();
    complete(&models, "smollm2-135m", None).await.unwrap();
    let running = models.running().await.remove(0);
    let slots = u64::from(running.load.slots);
    // 23 040 bytes a token.
    let cache = slots * u64::from(running.info.context_length).next_multiple_of(256) * 23_040;
    let takes = running.residence.bytes;
    assert!(takes <= 400 * MIB && slots >= 4, "{running:?}");
    assert!((cache + 94 * MIB..=cache + 260 * MIB).contains(&takes), "{cache} of {takes}: {running:?}");
    assert!(cache > 100 * MIB, "what room there is is used: {running:?}");
}

#[tokio::test]
async fn nothing_is_measured_beside_another_model() {
    let Some(dir) = store() else { return };
    let tuned = tempfile::tempdir().unwrap();
    let mut config = config(&dir, 4_000);
    config.model.tune_dir = tuned.path().to_owned();
    let models = LocalModels::start(&config).await.unwrap();
    let embedder = models.resolve("minilm-l6").await.unwrap();
    embedder.embed(EmbedRequest::new(["a cat"])).await.unwrap();
    complete(&models, "smollm2-135m", None).await.unwrap();
    assert_eq!(loaded(&models).await.len(), 2);
    assert_eq!(std::fs::read_dir(tuned.path()).unwrap().count(), 0, "it was measured");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_tells_how_far_it_is() {
    let Some(dir) = store() else { return };
    let mut config = config(&dir, 4_000);
    config.model.names = vec!["smollm2-135m".into()];
    let models = LocalModels::start(&config).await.unwrap();
    let (mut seen, mut told) = (Vec::new(), Vec::new());
    let start = std::time::Instant::now();
    while let Err(reasons) = models.ready() {
        assert!(start.elapsed().as_secs() < 120, "{reasons:?}");
        told.extend(reasons);
        for model in models.running().await.into_iter().filter(|m| m.residence.state == ResidenceState::Loading) {
            assert_eq!(model.info.id, "smollm2-135m");
            seen.extend(model.residence.progress);
        }
        tokio::time::sleep(std::time::Duration::from_micros(200)).await;
    }
    assert!(seen.iter().any(|p| p.step == LoadStep::Checking && p.percent.is_some()), "{seen:?}");
    assert!(seen.iter().any(|p| p.step == LoadStep::Loading), "{seen:?}");
    assert!(told.iter().any(|reason| reason.contains(" %")), "{told:?}");
    let there = models.running().await.remove(0).residence;
    assert_eq!((there.state, there.progress), (ResidenceState::Loaded, None));
}

#[tokio::test]
async fn what_is_said_of_a_model_before_it_is_loaded_is_true_of_it() {
    let Some(dir) = store() else { return };
    let models = LocalModels::start(&config(&dir, 4_000)).await.unwrap();
    let before = models.list().await;
    for model in &before {
        models.resolve(&model.id).await.unwrap().keep(KeepAlive::Forever).await.unwrap();
    }
    for (before, after) in before.iter().zip(models.list().await) {
        assert_eq!((&before.id, &before.digest, &before.backend), (&after.id, &after.digest, &after.backend));
        let (can, does) = (before.capabilities, after.capabilities);
        let pairs = [(can.generate, does.generate), (can.chat, does.chat), (can.embed, does.embed)];
        assert!(pairs.iter().all(|(before, after)| before == after), "{before:?} {after:?}");
        // What turns out to be possible must have been promised: requests are checked against it.
        assert!(can.tokenize >= does.tokenize && can.logprobs >= does.logprobs && can.rerank >= does.rerank);
    }
    let smol = before.iter().find(|model| model.id == "smollm2-135m").unwrap();
    assert_eq!((smol.family.as_str(), smol.context_length, smol.vocab_size), ("llama", 512, 49_152));
}

/// A LoRA adapter for SmolLM2-135M over the output of two feed-forward networks. `b` fills the second matrix.
fn write_adapter(path: &Path, architecture: &str, inputs: u64, mut b: impl FnMut() -> f32) {
    const RANK: u64 = 4;
    const OUTPUTS: u64 = 576;
    let text = |value: &str| [&(value.len() as u64).to_le_bytes()[..], value.as_bytes()].concat();
    let entry = |key: &str, kind: u32, value: &[u8]| [&text(key)[..], &kind.to_le_bytes(), value].concat();
    let metadata = [
        entry("general.architecture", 8, &text(architecture)),
        entry("general.type", 8, &text("adapter")),
        entry("adapter.type", 8, &text("lora")),
        entry("adapter.lora.alpha", 6, &8.0_f32.to_le_bytes()),
    ];
    let (mut infos, mut data) = (Vec::new(), Vec::new());
    let mut random = fastrand::Rng::with_seed(7);
    for block in [3, 20] {
        for (half, dimensions) in [("a", [inputs, RANK]), ("b", [RANK, OUTPUTS])] {
            infos.extend(text(&format!("blk.{block}.ffn_down.weight.lora_{half}")));
            infos.extend(2_u32.to_le_bytes());
            infos.extend(dimensions.iter().flat_map(|length| length.to_le_bytes()));
            infos.extend(0_u32.to_le_bytes());
            infos.extend((data.len() as u64).to_le_bytes());
            for _ in 0..dimensions[0] * dimensions[1] {
                let number = if half == "a" { random.f32() - 0.5 } else { b() };
                data.extend(number.to_le_bytes());
            }
        }
    }
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend(4_u64.to_le_bytes());
    file.extend((metadata.len() as u64).to_le_bytes());
    file.extend(metadata.concat());
    file.extend(infos);
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(data);
    std::fs::write(path, file).unwrap();
}

const FFN: u64 = 1536;

#[tokio::test]
async fn adapters_are_models_of_their_own() {
    let Some(dir) = store() else { return };
    let files = tempfile::tempdir().unwrap();
    let adapter = |name: &str, scale: f32| AdapterConfig {
        name: name.into(),
        model: "smollm2-135m".into(),
        path: files.path().join(format!("{name}.gguf")),
        scale,
    };
    let mut random = fastrand::Rng::with_seed(1);
    write_adapter(&files.path().join("zero.gguf"), "llama", FFN, || 0.0);
    write_adapter(&files.path().join("wild.gguf"), "llama", FFN, move || random.f32() - 0.5);
    write_adapter(&files.path().join("foreign.gguf"), "qwen2", FFN, || 0.0);
    write_adapter(&files.path().join("misshapen.gguf"), "llama", FFN + 64, || 0.0);
    std::fs::write(files.path().join("broken.gguf"), b"GGUF and nothing more").unwrap();
    let mut config = config(&dir, 4_000);
    config.model.adapters =
        ["zero", "wild", "foreign", "misshapen", "broken"].iter().map(|name| adapter(name, 1.0)).collect();
    let models = LocalModels::start(&config).await.unwrap();
    let listed: Vec<_> = models.list().await.into_iter().map(|info| info.id).collect();
    assert!(listed.contains(&"smollm2-135m:wild".to_owned()), "{listed:?}");

    let plain = complete(&models, "smollm2-135m", None).await.unwrap();
    assert_eq!(complete(&models, "smollm2-135m:zero", None).await.unwrap(), plain);
    let wild = complete(&models, "smollm2-135m:wild", None).await.unwrap();
    assert_ne!(wild, plain);
    // By a field of the request: the same, weaker, and not at all.
    let strength = |scale: f32| {
        let mut adapter = Adapter::new("wild");
        adapter.scale = scale;
        Some(adapter)
    };
    assert_eq!(complete(&models, "smollm2-135m", strength(1.0)).await.unwrap(), wild);
    assert_eq!(complete(&models, "smollm2-135m", strength(0.0)).await.unwrap(), plain);
    assert_eq!(complete(&models, "smollm2-135m", strength(1e-6)).await.unwrap(), plain);
    assert_eq!(complete(&models, "smollm2-135m", None).await.unwrap(), plain);

    let digest = |id: &str| {
        let (models, id) = (Arc::clone(&models), id.to_owned());
        async move { models.resolve(&id).await.unwrap().info().digest.clone().unwrap() }
    };
    assert_ne!(digest("smollm2-135m").await, digest("smollm2-135m:wild").await);
    assert_ne!(digest("smollm2-135m:zero").await, digest("smollm2-135m:wild").await);

    for (name, says) in [("foreign", "qwen2"), ("misshapen", "shape"), ("broken", "broken.gguf")] {
        let error = complete(&models, &format!("smollm2-135m:{name}"), None).await.unwrap_err();
        assert_eq!(error.code(), "model_corrupt", "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    let error = complete(&models, "smollm2-135m", Some(Adapter::new("unknown"))).await.unwrap_err();
    assert!(error.to_string().contains("zero, wild"), "{error}");
}

#[tokio::test]
async fn twenty_first_requests_are_answered_by_one_load() {
    let Some(dir) = store() else { return };
    let models = LocalModels::start(&config(&dir, 4_000)).await.unwrap();
    let all = (0..20).map(|i| {
        let models = Arc::clone(&models);
        tokio::spawn(async move {
            let model = models.resolve("minilm-l6").await.unwrap();
            model.embed(EmbedRequest::new([format!("text {i}")])).await.map(|done| done.vectors.len())
        })
    });
    for answer in futures::future::join_all(all).await {
        assert_eq!(answer.unwrap().unwrap(), 1);
    }
    let model = models.resolve("minilm-l6").await.unwrap();
    model.keep(KeepAlive::NOT_AT_ALL).await.unwrap();
    eventually("its end", || model.load().residence.is_some_and(|r| r.state == ResidenceState::Absent)).await;
}
