//! Which engine runs a model, and how it is told to. Loading blocks: call it off the runtime.

use std::path::Path;
use std::sync::Arc;

use llmo_config::{EngineKind, Isolation, ModelConfig};
use llmo_core::{Model, ModelError};
use llmo_store::catalogue::{Task, WeightsFormat};
use llmo_store::models::LocalModel;

use super::terms::{Made, OnProgress, Terms};

/// A model of the simulator: no weights.
pub(super) fn simulated(id: &str, config: &ModelConfig) -> Arc<dyn Model> {
    use llmo_backends::sim::{SimModel, SimOptions};
    let mut options = SimOptions::named(id);
    options.decode_tokens_per_second = config.sim_tokens_per_second;
    if config.slots > 0 {
        options.slots = config.slots;
    }
    if config.context_length > 0 {
        options.context_length = config.context_length;
    }
    Arc::new(SimModel::new(options))
}

/// What will say of itself that it runs a GGUF file.
pub(super) fn gguf_backend(config: &ModelConfig) -> &'static str {
    match config.engine {
        EngineKind::Candle => "candle",
        EngineKind::Auto if !cfg!(feature = "llama-cpp") => "candle",
        _ => "llama.cpp",
    }
}

/// Does llama.cpp run GGUF files?
pub(super) fn is_llama_cpp(config: &ModelConfig) -> bool {
    config.engine != EngineKind::Sim && gguf_backend(config) == "llama.cpp"
}

/// Loads an installed model with the engine that fits its weights.
pub(super) fn load(
    model: &LocalModel,
    config: &ModelConfig,
    terms: Terms,
    watch: OnProgress,
) -> Result<Made, ModelError> {
    let (manifest, id) = (&model.manifest, model.manifest.id.as_str());
    let digest = manifest.weights_file().map(|file| file.sha256.clone());
    match (manifest.task, manifest.weights) {
        (Task::Embed, WeightsFormat::Safetensors) => embedder(&model.dir, id, digest).map(Made::silently),
        (_, WeightsFormat::Gguf) => gguf(&model.weights, id, digest, config, terms, watch),
        _ => Err(ModelError::Unsupported {
            model: id.to_owned(),
            what: "being served: text generation needs a GGUF file, embeddings need safetensors".to_owned(),
        }),
    }
}

/// Loads a GGUF file.
pub(super) fn gguf(
    file: &Path,
    id: &str,
    digest: Option<String>,
    config: &ModelConfig,
    terms: Terms,
    watch: OnProgress,
) -> Result<Made, ModelError> {
    if !is_llama_cpp(config) {
        return candle(file, id, digest, config).map(Made::silently);
    }
    match config.isolation {
        Isolation::Process => isolated(file, id, digest, config, terms, watch),
        _ => llama_cpp(file, id, digest, config, terms, watch),
    }
}

/// Loads a GGUF file in a process of its own. What can be checked without native code is checked in this one.
#[cfg(all(unix, feature = "llama-cpp"))]
fn isolated(
    file: &Path,
    id: &str,
    digest: Option<String>,
    config: &ModelConfig,
    terms: Terms,
    watch: OnProgress,
) -> Result<Made, ModelError> {
    use super::child::{ChildModel, ChildOptions, Spec};
    llmo_backends::llama_cpp::check(id, file)?;
    let stall = std::time::Duration::from_secs(config.stall_seconds.max(1));
    let options = ChildOptions { stall, ..ChildOptions::default() };
    let runtime = tokio::runtime::Handle::try_current().map_err(|e| ModelError::Internal(e.to_string()))?;
    let spec = Spec::gguf(file, id, digest, config).on(terms);
    let (model, outcome) = runtime.block_on(ChildModel::load_watched(spec, options, watch))?;
    Ok(Made { model: Arc::new(model), outcome })
}

/// Elsewhere there are no processes of this kind.
#[cfg(not(all(unix, feature = "llama-cpp")))]
fn isolated(
    file: &Path,
    id: &str,
    digest: Option<String>,
    config: &ModelConfig,
    terms: Terms,
    watch: OnProgress,
) -> Result<Made, ModelError> {
    llama_cpp(file, id, digest, config, terms, watch)
}

/// What the configuration says to llama.cpp. What it leaves open is for the tuner.
#[cfg(feature = "llama-cpp")]
pub(super) fn llama_cpp_options(
    id: &str,
    digest: Option<String>,
    config: &ModelConfig,
) -> llmo_backends::llama_cpp::LlamaCppOptions {
    use llmo_backends::llama_cpp::{KvType, LlamaCppOptions, LoraOptions, Speculation, TuneMode};
    use llmo_config::{Choice, KvChoice, Tune};
    let given = |value: u32| (value > 0).then_some(value);
    let mut options = LlamaCppOptions::default();
    options.id = Some(id.to_owned());
    options.digest = digest;
    options.context_length = given(config.context_length);
    options.threads = given(config.threads);
    options.threads_batch = given(config.threads_batch);
    options.prefill_chunk = given(config.prefill_chunk);
    options.micro_batch = given(config.micro_batch);
    options.kv_type = match config.kv_type {
        KvChoice::F16 => Some(KvType::F16),
        KvChoice::Q8_0 => Some(KvType::Q8_0),
        _ => None,
    };
    options.flash_attention = match config.flash_attention {
        Choice::On => Some(true),
        Choice::Off => Some(false),
        _ => None,
    };
    options.tuning.mode = match config.tune {
        Tune::Off => TuneMode::Off,
        Tune::Full => TuneMode::Full,
        _ => TuneMode::Auto,
    };
    options.tuning.directory = Some(config.tune_directory());
    options.tuning.int8_kv = config.int8;
    if config.slots > 0 {
        options.slots = config.slots;
    }
    options.speculation = match config.speculation {
        Choice::On => Speculation::On,
        Choice::Off => Speculation::Off,
        _ => Speculation::Auto,
    };
    // The loader has made a path of a name.
    options.draft = (!config.draft.is_empty()).then(|| config.draft.clone().into());
    // The loader leaves the model's own here, if it has one.
    options.adapter = config.adapters.first().map(|lora| LoraOptions { path: lora.path.clone(), scale: lora.scale });
    options.max_queue = u32::try_from(config.max_queued).unwrap_or(u32::MAX);
    options
}

#[cfg(feature = "llama-cpp")]
fn llama_cpp(
    file: &Path,
    id: &str,
    digest: Option<String>,
    config: &ModelConfig,
    terms: Terms,
    watch: OnProgress,
) -> Result<Made, ModelError> {
    use llmo_backends::llama_cpp::LlamaCpp;
    let mut options = llama_cpp_options(id, digest, config);
    options.plan = terms.plan;
    options.tuning.beside_others = terms.beside_others;
    options.prefix_store = super::prefix_store::open(config);
    LlamaCpp::load_watched(file, options, watch).map(Made::from)
}

#[cfg(not(feature = "llama-cpp"))]
fn llama_cpp(
    _: &Path,
    id: &str,
    _: Option<String>,
    _: &ModelConfig,
    _: Terms,
    _: OnProgress,
) -> Result<Made, ModelError> {
    Err(missing(id, "llama-cpp"))
}

#[cfg(feature = "candle")]
fn candle(file: &Path, id: &str, digest: Option<String>, config: &ModelConfig) -> Result<Arc<dyn Model>, ModelError> {
    use llmo_backends::candle::{CandleModel, CandleOptions};
    if !config.adapters.is_empty() {
        let what = "adapters: candle has none, model.engine must be llama-cpp".to_owned();
        return Err(ModelError::Unsupported { model: id.to_owned(), what });
    }
    let mut options = CandleOptions::default();
    options.id = Some(id.to_owned());
    options.digest = digest;
    options.context_length = (config.context_length > 0).then_some(config.context_length);
    options.max_queue = u32::try_from(config.max_queued).unwrap_or(u32::MAX);
    Ok(Arc::new(CandleModel::load(file, options)?))
}

#[cfg(not(feature = "candle"))]
fn candle(_: &Path, id: &str, _: Option<String>, _: &ModelConfig) -> Result<Arc<dyn Model>, ModelError> {
    Err(missing(id, "candle"))
}

#[cfg(feature = "candle")]
fn embedder(dir: &Path, id: &str, digest: Option<String>) -> Result<Arc<dyn Model>, ModelError> {
    let model = llmo_backends::candle::bert::BertEmbedder::load(dir, id)?;
    Ok(match digest {
        Some(digest) => Arc::new(model.with_digest(digest)),
        None => Arc::new(model),
    })
}

#[cfg(not(feature = "candle"))]
fn embedder(_: &Path, id: &str, _: Option<String>) -> Result<Arc<dyn Model>, ModelError> {
    Err(missing(id, "candle"))
}

#[cfg(not(all(feature = "candle", feature = "llama-cpp")))]
fn missing(id: &str, feature: &str) -> ModelError {
    ModelError::Unsupported {
        model: id.to_owned(),
        what: format!("being served by this program: it was built without the feature {feature}"),
    }
}
