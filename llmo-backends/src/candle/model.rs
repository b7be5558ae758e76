//! The handle of a GGUF model: checks requests, queues them and answers what needs no decoder.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use llmo_core::model::{Load, Prompt, Result, TokenId, TokenizeOptions};
use llmo_core::text::OutputAssembler;
use llmo_core::text::tool_calls::ToolCallParser;
use llmo_core::{EventStream, GenerateRequest, Model, ModelError, ModelInfo};

use super::decoder::Decoder;
use super::events;
use super::file;
use super::generation::Generation;
use super::options::CandleOptions;
use super::prompt::PromptBuilder;
use super::queue::Queue;
use super::tokenizer::Tokenizer;
use super::worker::{self, Shared};
use crate::chat;
use crate::constraint::{Grammars, Matcher};
use crate::sampler::Sampler;

/// Context of models that were trained for more, unless asked for: the KV cache grows to what a request needs.
const DEFAULT_CONTEXT: u32 = 8192;

/// A GGUF model that candle computes: architectures llama, qwen2, qwen3 and gemma3.
///
/// Requests share one sequence in turn. Loading reads the whole file into memory, as it is quantised; the KV cache grows
/// with the longest request so far, at 32 bits a number. Tokens, prompts and, up to rounding, probabilities are those of
/// llama.cpp.
///
/// ```no_run
/// use std::path::Path;
///
/// use llmo_backends::candle::{CandleModel, CandleOptions};
/// use llmo_core::{GenerateRequest, Model};
///
/// # async fn ask() -> Result<(), llmo_core::ModelError> {
/// let model = CandleModel::load(Path::new("model.gguf"), CandleOptions::default())?;
/// let request = GenerateRequest::ask("What is the capital of France?").max_tokens(40);
/// let (answer, _) = model.generate(request).await?.collect_all().await?;
/// println!("{}", answer.text);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CandleModel {
    info: ModelInfo,
    shared: Arc<Shared>,
    prompts: Arc<PromptBuilder>,
    grammars: Grammars,
}

/// What an output is held to, and how calls are read out of it.
struct Held {
    matcher: Option<Matcher>,
    /// Control tokens that are part of the text.
    shown: Vec<(TokenId, String)>,
    parser: Option<ToolCallParser>,
}

impl CandleModel {
    /// Loads a GGUF file. Blocks for as long as reading the file takes.
    ///
    /// # Errors
    /// [`ModelError::Corrupt`] if the file is damaged, [`ModelError::Unsupported`] if candle can't compute it (the
    /// message says what works), [`ModelError::Internal`] if it can't be read.
    pub fn load(path: &Path, options: CandleOptions) -> Result<Self> {
        let id = options.id.clone().unwrap_or_else(|| file::stem(path));
        let mut info = ModelInfo::new(id, "candle");
        info.digest = options.digest;
        let opened = file::open(path, &mut info)?;
        let metadata = opened.metadata();
        let tokenizer = Tokenizer::from_metadata(metadata)?;
        let prompts = PromptBuilder::new(metadata.text("tokenizer.chat_template"), &tokenizer)?;
        let decoder = Decoder::load(opened.weights(), tokenizer.vocab_size())?;

        let trained = u32::try_from(decoder.context_length()).unwrap_or(u32::MAX);
        info.context_length = match options.context_length {
            Some(0) => return Err(ModelError::invalid("context_length", "must be at least 1")),
            Some(wanted) => wanted.min(trained),
            None => trained.min(DEFAULT_CONTEXT),
        };
        info.vocab_size = u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX);
        info.capabilities.generate = true;
        info.capabilities.chat = prompts.reads_chats();
        info.capabilities.tokenize = true;
        info.capabilities.logprobs = true;
        info.capabilities.token_ids = true;
        info.capabilities.constraints = true;
        info.capabilities.tools = prompts.reads_chats();

        let queue = Queue::new(options.max_queue as usize);
        let shared = Arc::new(Shared { queue, tokenizer, occupied: AtomicU32::new(0) });
        worker::start(Arc::clone(&shared), decoder, options.prefill_chunk.max(1) as usize)?;
        let vocabulary = Arc::clone(&shared);
        let grammars = Grammars::new(move || vocabulary.tokenizer.grammar_tokens());
        Ok(Self { info, shared, prompts: Arc::new(prompts), grammars })
    }

    /// What the output of a request is held to.
    async fn hold(&self, request: &GenerateRequest) -> Result<Held> {
        let format = self.prompts.tool_format();
        let marks: &[&str] = if request.tools.is_empty() { &[] } else { format.marks() };
        let marks = self.shared.tokenizer.control_tokens(marks)?;
        let plan = chat::plan(format, request, &marks)?;
        let matcher = match &plan.constraint {
            Some(constraint) => {
                let name = |error| if plan.of_tools { chat::renamed(error, "tools") } else { error };
                Some(self.grammars.compile(constraint).await.map_err(name)?)
            }
            None => None,
        };
        let shown = marks.into_iter().map(|(text, token)| (token, text)).collect();
        Ok(Held { matcher, shown, parser: plan.parser })
    }

    /// How many tokens may be generated.
    fn room(&self, prompt: usize, asked: Option<u32>) -> Result<usize> {
        let context = self.info.context_length as usize;
        let room = context.saturating_sub(prompt);
        match asked.map(|asked| asked as usize) {
            Some(asked) if asked <= room => Ok(asked),
            None if room > 0 => Ok(room),
            _ => Err(ModelError::ContextOverflow {
                prompt_tokens: prompt as u64,
                max_tokens: u64::from(asked.unwrap_or(1)),
                context_length: context as u64,
            }),
        }
    }
}

/// Runs `work`, which computes for up to a second on a long text, where it holds up nobody else.
pub(super) async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(ModelError::Internal(error.to_string())))
}

#[async_trait]
impl Model for CandleModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        request.validate()?;
        if request.prompt_logprobs.is_some() {
            return Err(ModelError::unsupported(&self.info, "log probabilities of the prompt on candle"));
        }
        let queued = Instant::now();
        if !request.output_prefix.is_empty() {
            return Err(ModelError::unsupported(&self.info, "output_prefix"));
        }
        let held = self.hold(&request).await?;
        let (prompts, shared) = (Arc::clone(&self.prompts), Arc::clone(&self.shared));
        let is_tokens = matches!(request.prompt, Prompt::Tokens(_));
        let build = move || prompts.build(&request, &shared.tokenizer).map(|prompt| (request, prompt));
        let (request, prompt) = if is_tokens { build()? } else { off_runtime(build).await? };
        let max_tokens = self.room(prompt.len(), request.max_tokens)?;
        let sampler = Sampler::new(&request.sampling, self.shared.tokenizer.vocab_size(), &self.shared)?;
        request.stop_tokens.iter().try_for_each(|&t| self.shared.tokenizer.check(t, "stop_token_ids"))?;
        let (sender, stream) = events::channel(max_tokens, request.deadline);
        sender.check_deadline(queued)?;
        self.shared.queue.push(Generation {
            prompt,
            max_tokens,
            sampler,
            matcher: held.matcher,
            shown: held.shown,
            stop_tokens: request.stop_tokens,
            output: OutputAssembler::new(request.stop),
            logprobs: request.logprobs.map(|top| top as usize),
            events: sender,
            queued,
        })?;
        Ok(match held.parser {
            Some(parser) => chat::with_calls(stream, parser),
            None => stream,
        })
    }

    async fn render(&self, request: GenerateRequest) -> Result<String> {
        let prompts = Arc::clone(&self.prompts);
        off_runtime(move || prompts.text(&request)).await
    }

    async fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<TokenId>> {
        let (shared, text) = (Arc::clone(&self.shared), text.to_owned());
        off_runtime(move || shared.tokenizer.encode(&text, options)).await
    }

    async fn detokenize(&self, tokens: &[TokenId]) -> Result<String> {
        self.shared.tokenizer.decode(tokens)
    }

    fn load(&self) -> Load {
        let waiting = self.shared.queue.waiting();
        let mut load = Load::idle(1);
        load.slots_free = u32::from(!waiting.running);
        load.queued_requests = waiting.requests;
        load.queued_tokens = waiting.tokens;
        load.kv_used = self.shared.occupied.load(Ordering::Relaxed) as f32 / self.info.context_length as f32;
        load
    }
}

impl Drop for CandleModel {
    /// Streams that run or wait are finished; the memory is free after the last of them.
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}
