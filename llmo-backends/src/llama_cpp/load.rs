//! From a file to a running engine.

use std::path::Path;
use std::sync::{Arc, mpsc};

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llmo_core::ModelError;
use llmo_core::model::{Capabilities, ModelInfo};

use super::adapter::Adapter;
use super::context::{Context, ContextShape};
use super::engine::{Archive, Engine, EngineThread, Limits, Mailbox, Rounding, Settings, serve};
use super::options::LlamaCppOptions;
use super::prompt::PromptEncoder;
use super::sizing::{self, ModelSize};
use super::vocabulary::Vocabulary;
use super::weights::Weights;
use super::{Kernels, LlamaCpp, held, kernels, runtime, tune};

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
        let id = options.id.clone().unwrap_or_else(|| name_of(path));
        let weights = Weights::open(&id, path)?;
        let backend = runtime::backend().map_err(ModelError::Internal)?;
        let mut model = LlamaModel::load_from_file(backend, path, &LlamaModelParams::default()).map_err(|e| {
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
pub(super) fn load(path: &Path, options: LlamaCppOptions) -> Result<LlamaCpp, ModelError> {
    let opened = Opened::open(path, &options)?;
    // What is wrong with the options is said before anything is measured.
    sizing::shape(&options, opened.size)?;
    let options = tune::choose(options, &opened);
    let Opened { id, weights, model, adapter, size, vocabulary } = opened;
    let shape = sizing::shape(&options, size)?;
    let template = model.chat_template(None).ok().and_then(|template| template.to_string().ok());
    let prompts = PromptEncoder::new(&id, vocabulary.clone(), template.as_deref());
    let info = info(id, &options, &weights, &model, &shape, &prompts);
    let steady = kernels::rounds_alike(&weights.architecture, size.head);
    let limits = Limits { requests: options.max_queue as usize, tokens: options.max_queued_tokens };
    let mailbox = Arc::new(Mailbox::new(limits, shape.slots));
    let settings = Settings {
        table: Arc::clone(vocabulary.table()),
        slots: shape.slots,
        context_length: shape.context_length,
        prefill_chunk: shape.prefill_chunk,
        speculation: options.speculation,
        reader_patience: options.reader_patience,
        rounding: Rounding::of(shape.kv_type, shape.flash_attention, steady, options.exact_reuse),
    };
    let archive = archive(&options, &shape, &mailbox);
    let thread = start(model, adapter, shape, settings, Arc::clone(&mailbox), archive)?;
    tracing::info!(
        model = info.id, quantisation = %info.quantisation, slots = shape.slots,
        context_length = shape.context_length, kv_mib = size.kv_bytes(&shape) >> 20, threads = shape.threads,
        kv_type = %shape.kv_type, "model loaded"
    );
    let grammars = held::grammars(&vocabulary);
    Ok(LlamaCpp { info, grammars, vocabulary, prompts: Arc::new(prompts), mailbox, _thread: thread })
}

/// Opens the store for beginnings of prompts, if there is to be one. Without it everything works, only slower.
fn archive(options: &LlamaCppOptions, shape: &ContextShape, mailbox: &Arc<Mailbox>) -> Option<Archive> {
    let store = options.prefix_store.clone()?;
    let Some(digest) = &options.digest else {
        tracing::warn!("no prefix store: the digest of the weights is not known");
        return None;
    };
    let kernels = Kernels::active().map(|kernels| format!("{kernels:?}")).unwrap_or_default();
    // Whatever changes the state, or how the kernels round what it is made of.
    let identity = format!(
        "model {digest}, adapter {:?}, {kernels}, kv {:?}, flash {}, streams {}, unified {}, micro-batch {}",
        options.adapter, shape.kv_type, shape.flash_attention, shape.slots, shape.kv_unified, shape.micro_batch
    );
    let mailbox = Arc::clone(mailbox);
    let archive = Archive::open(store, digest, identity, move || mailbox.wake());
    archive.inspect_err(|error| tracing::warn!(error, "no prefix store")).ok()
}

/// Starts the engine's thread, which makes the context: the context borrows the model, so both live there.
fn start(
    model: Arc<LlamaModel>,
    mut adapter: Option<Adapter>,
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
        let context = match context {
            Ok(context) => context,
            Err(error) => {
                let _ = report.send(Err(error));
                return;
            }
        };
        let _ = report.send(Ok(()));
        serve(&mut Engine::new(context, settings, Arc::clone(mailbox)).with_archive(archive));
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
