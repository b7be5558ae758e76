//! From a model to its 8-bit variant.

use std::path::{Path, PathBuf};

use llmo_config::{EngineKind, ModelConfig};
use llmo_core::weights::GgufHeader;
use llmo_store::ModelsError;
use llmo_store::catalogue::WeightsFormat;
use llmo_store::models::LocalModel;
use llmo_store::pull::{Phase, Progress, Puller, VariantSource};
use llmo_store::variant::Variant;
use serde_json::{Value, json};

#[cfg(feature = "llama-cpp")]
use super::super::engine;
use super::super::header;
use super::native;
use super::plan::{Decision, Sizes, decide};

const VARIANT: &str = "q8_0";

/// The model as the configuration wants it served: itself, or its 8-bit variant, which is made first if need be.
pub(in super::super) async fn as_configured(
    mut model: LocalModel,
    source: &Puller,
    config: &ModelConfig,
    progress: &dyn Progress,
) -> Result<LocalModel, ModelsError> {
    let Some(file) = model.manifest.weights_file().cloned() else { return Ok(model) };
    if model.manifest.weights != WeightsFormat::Gguf {
        return Ok(model);
    }
    let converted = variant(&model.manifest.id, &model.weights, &file.sha256, source, config, progress).await?;
    if let Some((variant, weights)) = converted {
        // The variant's hash is the model's from here on: it is part of every cache key.
        if let Some(entry) = model.manifest.files.iter_mut().find(|entry| entry.name == file.name) {
            *entry = variant.file;
        }
        model.weights = weights;
    }
    Ok(model)
}

/// A file of the operator's, likewise. Gives the file to load and its hash.
pub(in super::super) async fn as_configured_file(
    file: PathBuf,
    id: &str,
    sha256: String,
    source: &Puller,
    config: &ModelConfig,
    progress: &dyn Progress,
) -> Result<(PathBuf, String), ModelsError> {
    let converted = variant(id, &file, &sha256, source, config, progress).await?;
    Ok(converted.map_or((file, sha256), |(variant, weights)| (weights, variant.file.sha256)))
}

async fn variant(
    id: &str,
    weights: &Path,
    sha256: &str,
    source: &Puller,
    config: &ModelConfig,
    progress: &dyn Progress,
) -> Result<Option<(Variant, PathBuf)>, ModelsError> {
    if !config.int8 || config.engine == EngineKind::Candle || !cfg!(feature = "llama-cpp") {
        return Ok(None);
    }
    let file = weights.to_owned();
    let header = tokio::task::spawn_blocking(move || header::read(&file)).await.ok().and_then(Result::ok);
    // What can't be read is the engine's to refuse.
    let Some((quantisation, sizes)) =
        header.map(|header| (header.quantisation().to_string(), sizes(&header, weights, config)))
    else {
        return Ok(None);
    };
    match decide(config, &quantisation, sizes) {
        Decision::Keep { why } => {
            tracing::info!(model = id, why, "USE_INT8: the weights stay as they are");
            return Ok(None);
        }
        Decision::Convert { why } => tracing::info!(model = id, why, "USE_INT8: served with weights of 8 bits"),
    }
    let wanted = VariantSource::new(id, sha256, VARIANT);
    if let Some(found) = source.variant(wanted).await? {
        return Ok(Some(found));
    }
    progress.phase(&Phase::Installing { model: format!("{id} ({VARIANT})") });
    let (mut made, file) = source
        .make_variant(wanted, &tool(), progress, |target| async move { native::quantize(weights, &target).await })
        .await?;
    tracing::info!(model = id, bytes = made.file.size, "converted to 8 bits; measuring what that brought");
    made.measured = measured(weights, &file, config).await;
    // Without it `llmo show` has less to tell, and that is all.
    if let Err(error) = source.describe_variant(&made).await {
        tracing::warn!(model = id, %error, "what was measured could not be written down");
    }
    Ok(Some((made, file)))
}

/// Before: the weights as they were, with 16-bit keys and values. After: as they are served.
async fn measured(before: &Path, after: &Path, config: &ModelConfig) -> Value {
    let sixteen = ModelConfig { int8: false, ..config.clone() };
    json!({ "before": profile(before, &sixteen).await, "after": profile(after, config).await })
}

async fn profile(file: &Path, config: &ModelConfig) -> Value {
    native::profile(file, config).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "what 8 bits cost and bring could not be measured");
        Value::Null
    })
}

#[cfg(feature = "llama-cpp")]
fn tool() -> String {
    let ggml = llmo_backends::llama_cpp::Kernels::active().map_or_else(|_| String::new(), |kernels| kernels.ggml);
    format!("llmo {} (llama.cpp, ggml {ggml})", env!("CARGO_PKG_VERSION"))
}

#[cfg(not(feature = "llama-cpp"))]
fn tool() -> String {
    String::new()
}

fn sizes(header: &GgufHeader, file: &Path, config: &ModelConfig) -> Sizes {
    let weights = file.metadata().map_or(0, |meta| meta.len());
    Sizes { weights, parameters: header.parameters(), kv_f16: kv_f16(header, config) }
}

/// Bytes that the KV cache would take in 16 bits.
#[cfg(feature = "llama-cpp")]
fn kv_f16(header: &GgufHeader, config: &ModelConfig) -> u64 {
    let sixteen = ModelConfig { int8: false, kv_type: llmo_config::KvChoice::F16, ..config.clone() };
    let options = engine::llama_cpp_options("", None, &sixteen);
    let plan = llmo_backends::llama_cpp::plan(&options, header::sizes(header), u64::MAX);
    // What is out of range is refused when the model is loaded.
    plan.map_or(0, |plan| plan.kv_bytes)
}

#[cfg(not(feature = "llama-cpp"))]
fn kv_f16(_: &GgufHeader, _: &ModelConfig) -> u64 {
    0
}
