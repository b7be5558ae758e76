//! From a file to a running engine.

use std::path::Path;
use std::sync::{Arc, mpsc};

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llmo_core::ModelError;
use llmo_core::model::{Capabilities, LoadProgress, LoadStep, ModelInfo};

use super::adapter::Adapter;
use super::context::{Context, ContextShape};
use super::engine::{Archive, Drafter, Engine, EngineThread, LANES, Limits, Mailbox, Rounding, Settings, serve};
use super::options::{KvType, LlamaCppOptions, Speculation};
use super::prompt::PromptEncoder;
use super::sizing::{self, ModelSize};
use super::vocabulary::{TokenTable, Vocabulary};
use super::weights::Weights;
use super::{Footprint, Kernels, LlamaCpp, Watch, held, kernels, runtime, tune};

/// The llama.cpp that this crate is pinned to, by the crate that brings it; a test compares it with the lock file.
const LLAMA_CPP: &str = "llama-cpp-sys-2 0.1.161";

/// A file that llama.cpp has loaded, still without a context.
pub(super) struct Opened {
    pub(super) id: String,
    pub(super) weights: Weights,
    pub(super) model: Arc<LlamaModel>,
    pub(super) adapter: Option<Adapter>,
    pub(super) size: ModelSize,
    pub(super) vocabulary: Vocabulary,
}

impl Opened {
    /// Checks and loads a file.
    pub(super) fn open(path: &Path, options: &LlamaCppOptions) -> Result<Self, ModelError> {
        Self::open_watched(path, options, Arc::new(|_| ()))
    }

    fn open_watched(path: &Path, options: &LlamaCppOptions, watch: Watch) -> Result<Self, ModelError> {
        let id = options.id.clone().unwrap_or_else(|| name_of(path));
        let weights = Weights::open(&id, path)?;
        let backend = runtime::backend().map_err(ModelError::Internal)?;
        let mut told = None;
        let params = LlamaModelParams::default().with_progress_callback(move |share| {
            let percent = (share.clamp(0.0, 1.0) * 100.0) as u64;
            if told.replace(percent) != Some(percent) {
                watch(LoadProgress::new(LoadStep::Loading).of(percent, 100));
            }
            true
        });
        let mut model = LlamaModel::load_from_file(backend, path, &params).map_err(|e| {
            let reason = format!("llama.cpp refuses the file ({e}); its log says why");
            ModelError::Corrupt { model: id.clone(), reason }
        })?;
        let adapter = match &options.adapter {
            Some(adapter) => Adapter::open(&id, &mut model, path, adapter)?,
            None => None,
        };
        let model = Arc::new(model);
        let size = ModelSize::of(&model, &weights.architecture);
        let vocabulary = Vocabulary::new(Arc::clone(&model));
        Ok(Self { id, weights, model, adapter, size, vocabulary })
    }
}

/// Loads a model and starts its engine. See [`LlamaCpp::load`].
pub(super) fn load(path: &Path, options: LlamaCppOptions, watch: Watch) -> Result<LlamaCpp, ModelError> {
    let opened = Opened::open_watched(path, &options, Arc::clone(&watch))?;
    // What is wrong with the options is said before anything is measured.
    sizing::shape(&options, opened.size)?;
    let options = tune::choose(options, &opened, &watch);
    let Opened { id, weights, model, adapter, size, vocabulary } = opened;
    let shape = sizing::shape(&options, size)?;
    let template = model.chat_template(None).ok().and_then(|template| template.to_string().ok());
    let prompts = PromptEncoder::new(&id, vocabulary.clone(), template.as_deref());
    let info = info(id, &options, &weights, &model, &shape, &prompts);
    let steady = shape.flash_attention && kernels::rounds_alike(&weights.architecture, size.head);
    let limits = Limits { requests: options.max_queue as usize, tokens: options.max_queued_tokens };
    let mailbox = Arc::new(Mailbox::new(limits, shape.slots));
    let settings = Settings {
        table: Arc::clone(vocabulary.table()),
        slots: shape.slots,
        context_length: shape.context_length,
        prefill_chunk: shape.prefill_chunk,
        speculation: options.speculation.resolved(steady),
        reader_patience: options.reader_patience,
        rounding: Rounding::of(shape.kv_type, shape.flash_attention, steady, options.exact_reuse),
    };
    let draft = if settings.speculation == Speculation::Off {
        if options.draft.is_some() {
            tracing::info!(model = info.id, "nothing is guessed here, so the draft model is not loaded (speculation)");
        }
        None
    } else {
        Draft::open(&options, vocabulary.table(), &shape, &info.id)?
    };
    let mut footprint = footprint(&options, &model, &shape, size);
    footprint.buffers = footprint.buffers.saturating_add(draft.as_ref().map_or(0, |draft| draft.bytes));
    let archive = archive(&options, &shape, &settings, steady, &mailbox);
    let speculation = settings.speculation;
    let thread = start(model, adapter, draft, shape, settings, Arc::clone(&mailbox), archive)?;
    tracing::info!(
        model = info.id, quantisation = %info.quantisation, slots = shape.slots,
        context_length = shape.context_length, kv_mib = footprint.kv_cache >> 20, threads = shape.threads,
        kv_type = %shape.kv_type, ?speculation, "model loaded"
    );
    let grammars = held::grammars(&vocabulary);
    Ok(LlamaCpp { info, grammars, vocabulary, prompts: Arc::new(prompts), mailbox, footprint, _thread: thread })
}

/// A second model that guesses for the first.
struct Draft {
    model: Arc<LlamaModel>,
    shape: ContextShape,
    /// What it takes in memory.
    bytes: u64,
}

impl Draft {
    /// Loads it, if there is to be one and it has the tokens of `table`.
    fn open(
        options: &LlamaCppOptions,
        table: &TokenTable,
        shape: &ContextShape,
        id: &str,
    ) -> Result<Option<Self>, ModelError> {
        let Some(path) = &options.draft else { return Ok(None) };
        let wrong = |error: ModelError| ModelError::invalid("draft", format!("{}: {error}", path.display()));
        let Opened { model, size, vocabulary, .. } = Opened::open(path, &LlamaCppOptions::default()).map_err(wrong)?;
        if !vocabulary.table().is_same_as(table) {
            tracing::warn!(model = id, draft = %path.display(), "the draft model has other tokens: it is not used");
            return Ok(None);
        }
        let shape = draft_shape(shape, size.trained_for);
        let buffers = sizing::buffer_bytes(&shape, table.len() as u64);
        let bytes = model.size().saturating_add(size.kv_bytes(&shape)).saturating_add(buffers);
        Ok(Some(Self { model, shape, bytes }))
    }
}

/// The context of a model that guesses for one with a context of this shape.
fn draft_shape(shape: &ContextShape, trained_for: u32) -> ContextShape {
    let chunk = sizing::DEFAULT_CHUNK;
    ContextShape {
        slots: LANES,
        context_length: shape.context_length.min(trained_for.max(1)),
        prefill_chunk: chunk,
        batch: chunk,
        micro_batch: chunk,
        kv_type: KvType::F16,
        flash_attention: true,
        kv_unified: false,
        ..*shape
    }
}

fn footprint(options: &LlamaCppOptions, model: &LlamaModel, shape: &ContextShape, size: ModelSize) -> Footprint {
    let words = u64::try_from(model.n_vocab()).unwrap_or(0);
    let adapter =
        options.adapter.as_ref().and_then(|adapter| adapter.path.metadata().ok()).map_or(0, |file| file.len());
    Footprint {
        weights: model.size(),
        kv_cache: size.kv_bytes(shape),
        buffers: sizing::buffer_bytes(shape, words).saturating_add(adapter),
        kv_type: shape.kv_type,
    }
}

/// Opens the store for beginnings of prompts, if there is to be one. Without it everything works, only slower.
fn archive(
    options: &LlamaCppOptions,
    shape: &ContextShape,
    settings: &Settings,
    steady: bool,
    mailbox: &Arc<Mailbox>,
) -> Option<Archive> {
    let store = options.prefix_store.clone()?;
    let Some(digest) = &options.digest else {
        tracing::warn!("no prefix store: the digest of the weights is not known");
        return None;
    };
    let kernels = Kernels::active().map(|kernels| format!("{kernels:?}")).unwrap_or_default();
    let identity = identity(options, shape, settings.rounding, steady, &kernels);
    let mailbox = Arc::clone(mailbox);
    let archive = Archive::open(store, digest, identity, move || mailbox.wake());
    archive.inspect_err(|error| tracing::warn!(error, "no prefix store")).ok()
}

/// Whatever changes a saved state, or how the kernels round what it is made of. How many slots there are, how long they are and
/// how many tokens are computed at once does neither, as long as runs stay long enough to round alike.
fn identity(
    options: &LlamaCppOptions,
    shape: &ContextShape,
    rounding: Rounding,
    steady: bool,
    kernels: &str,
) -> String {
    let alike = rounding.shortest();
    let run = (shape.micro_batch as usize).min(alike);
    let attention = if steady { "llmo's" } else { "llama.cpp's" };
    format!(
        "llmo {}, {LLAMA_CPP}, model {}, adapter {:?}, {kernels}, attention {attention}, kv {:?}, flash {}, unified {}, \
         runs of {run} of {alike}, exact {}",
        env!("CARGO_PKG_VERSION"),
        options.digest.as_deref().unwrap_or_default(),
        options.adapter,
        shape.kv_type,
        shape.flash_attention,
        shape.kv_unified,
        options.exact_reuse,
    )
}

/// Starts the engine's thread, which makes the context: the context borrows the model, so both live there.
fn start(
    model: Arc<LlamaModel>,
    mut adapter: Option<Adapter>,
    draft: Option<Draft>,
    shape: ContextShape,
    settings: Settings,
    mailbox: Arc<Mailbox>,
    archive: Option<Archive>,
) -> Result<EngineThread, ModelError> {
    let (report, reported) = mpsc::sync_channel(1);
    let thread = EngineThread::spawn(mailbox, move |mailbox| {
        let _present = runtime::Presence::new();
        let context = Context::new(&model, &shape).and_then(|mut context| {
            adapter.as_mut().map_or(Ok(()), |adapter| context.apply(adapter)).map(|()| context)
        });
        let guessing = draft.as_ref().map(|draft| Context::new(&draft.model, &draft.shape)).transpose();
        let both = context.and_then(|context| guessing.map(|guessing| (context, guessing)));
        let (context, guessing) = match both {
            Ok(both) => both,
            Err(error) => {
                let _ = report.send(Err(error));
                return;
            }
        };
        let _ = report.send(Ok(()));
        let length = draft.as_ref().map_or(0, |draft| draft.shape.context_length);
        let drafter = guessing.map(|context| Drafter::new(context, length));
        let engine = Engine::new(context, settings, Arc::clone(mailbox));
        serve(&mut engine.with_archive(archive).with_drafter(drafter));
    });
    let thread = thread.map_err(|e| ModelError::Internal(format!("no thread for the engine: {e}")))?;
    let made = reported.recv().unwrap_or_else(|_| Err("the engine ended before it began".into()));
    made.map_err(ModelError::Internal)?;
    Ok(thread)
}

fn info(
    id: String,
    options: &LlamaCppOptions,
    weights: &Weights,
    model: &LlamaModel,
    shape: &ContextShape,
    prompts: &PromptEncoder,
) -> ModelInfo {
    let mut info = ModelInfo::new(id, "llama.cpp");
    info.family.clone_from(&weights.architecture);
    info.context_length = shape.context_length;
    info.vocab_size = u32::try_from(model.n_vocab()).unwrap_or(0);
    info.quantisation = weights.quantisation.clone();
    info.parameters = model.n_params();
    info.size_bytes = model.size();
    info.digest.clone_from(&options.digest);
    info.created = weights.changed_at;
    let mut capabilities = Capabilities::default();
    capabilities.generate = true;
    capabilities.chat = prompts.can_chat();
    capabilities.tools = prompts.can_chat();
    capabilities.constraints = true;
    capabilities.tokenize = true;
    capabilities.logprobs = true;
    capabilities.token_ids = true;
    info.capabilities = capabilities;
    info
}

fn name_of(path: &Path) -> String {
    path.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity_of(set: impl FnOnce(&mut LlamaCppOptions), steady: bool, kernels: &str) -> String {
        let mut options = LlamaCppOptions { digest: Some("0123".into()), ..LlamaCppOptions::default() };
        (options.slots, options.context_length, options.threads) = (4, Some(1024), Some(1));
        set(&mut options);
        let shape = sizing::shape(&options, ModelSize { trained_for: 8192, kv_values: 64, head: 64 }).unwrap();
        let rounding = Rounding::of(shape.kv_type, shape.flash_attention, steady, options.exact_reuse);
        identity(&options, &shape, rounding, steady, kernels)
    }

    #[test]
    fn a_saved_beginning_is_for_the_same_model_build_kernels_and_cache_whatever_the_slots() {
        let usual = identity_of(|_| (), false, "AVX2");
        assert!(usual.contains(env!("CARGO_PKG_VERSION")) && usual.contains(LLAMA_CPP), "{usual}");
        let same: [fn(&mut LlamaCppOptions); 4] = [
            |o| o.slots = 8,
            |o| o.context_length = Some(4096),
            |o| (o.prefill_chunk, o.micro_batch) = (Some(512), Some(256)),
            |o| o.threads = Some(2),
        ];
        for set in same {
            assert_eq!(identity_of(set, false, "AVX2"), usual);
        }
        let others: [fn(&mut LlamaCppOptions); 6] = [
            |o| o.digest = Some("4567".into()),
            |o| o.kv_type = Some(KvType::Q8_0),
            |o| o.flash_attention = Some(false),
            |o| o.kv_unified = true,
            |o| o.exact_reuse = false,
            // Runs that are too short to round like the others.
            |o| o.micro_batch = Some(32),
        ];
        for set in others {
            assert_ne!(identity_of(set, false, "AVX2"), usual);
        }
        assert_ne!(identity_of(|_| (), true, "AVX2"), usual, "our own attention");
        assert_ne!(identity_of(|_| (), false, "AVX2 LLMO_TILES"), usual);
    }

    #[test]
    fn the_pinned_llama_cpp_is_the_one_that_is_built() {
        let (name, version) = LLAMA_CPP.split_once(' ').unwrap();
        let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"")), "Cargo.lock has another {name}");
    }
}
