//! The [`Model`] itself: requests in, streams out.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use llmo_core::model::{
    EventStream, GenerateRequest, Load, LoadProgress, Model, ModelError, ModelInfo, Prompt, Result, TokenId,
    TokenizeOptions,
};

use super::engine::{EngineThread, Mailbox, job};
use super::options::{KvType, LlamaCppOptions};
use super::prompt::PromptEncoder;
use super::vocabulary::Vocabulary;
use super::{held, load};
use crate::chat;
use crate::constraint::Grammars;

/// Texts longer than this, in bytes, are tokenised on a thread where blocking is allowed: they take a millisecond each
/// 10 KB or so.
const LONG_TEXT: usize = 16 * 1024;

/// Is told how far a load is.
pub type Watch = Arc<dyn Fn(LoadProgress) + Send + Sync>;

/// A GGUF model on llama.cpp.
///
/// ```no_run
/// use llmo_backends::llama_cpp::{LlamaCpp, LlamaCppOptions};
/// use llmo_core::{GenerateRequest, Model};
///
/// # async fn example() -> Result<(), llmo_core::ModelError> {
/// let model = LlamaCpp::load("model.gguf".as_ref(), LlamaCppOptions::default())?;
/// let request = GenerateRequest::ask("What is the capital of France?").max_tokens(40);
/// let (answer, _) = model.generate(request).await?.collect_all().await?;
/// println!("{}", answer.text);
/// # Ok(())
/// # }
/// ```
///
/// Dropping it refuses what waits; streams that run end in their own time, and then the memory is free.
pub struct LlamaCpp {
    pub(super) info: ModelInfo,
    pub(super) vocabulary: Vocabulary,
    pub(super) prompts: Arc<PromptEncoder>,
    pub(super) grammars: Grammars,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) footprint: Footprint,
    pub(super) _thread: EngineThread,
}

/// What a loaded model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Footprint {
    /// Bytes of the weights.
    pub weights: u64,
    /// Bytes of the KV cache of all slots, which is resident from the start.
    pub kv_cache: u64,
    /// Bytes of buffers to compute in, and of an adapter: what the shape of the context lets expect.
    pub buffers: u64,
    /// How keys and values are stored.
    pub kv_type: KvType,
}

impl LlamaCpp {
    /// Checks and loads a GGUF file and starts the engine. Blocking, for seconds with a large file: in asynchronous code
    /// call it from `spawn_blocking`.
    ///
    /// # Errors
    /// [`ModelError::NotFound`] without such a file; [`ModelError::Corrupt`] for a file that is damaged, in which case
    /// llama.cpp never sees it; [`ModelError::Unsupported`] for a model that does not generate;
    /// [`ModelError::InvalidRequest`] for an option out of range; [`ModelError::Internal`] if there is not enough memory.
    pub fn load(path: &Path, options: LlamaCppOptions) -> Result<Self> {
        load::load(path, options, Arc::new(|_| ()))
    }

    /// The same; `watch` is told how far it is, on the thread that loads, some hundred times at most.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn load_watched(path: &Path, options: LlamaCppOptions, watch: Watch) -> Result<Self> {
        load::load(path, options, watch)
    }

    /// What it takes.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        self.footprint
    }

    /// The prompt's tokens and how many may be generated.
    async fn plan(&self, request: &mut GenerateRequest) -> Result<(Vec<TokenId>, u32)> {
        self.vocabulary.table().check("logit_bias", request.sampling.logit_bias.iter().map(|&(token, _)| token))?;
        self.vocabulary.table().check("stop_token_ids", request.stop_tokens.iter().copied())?;
        let mut asked = GenerateRequest::new(std::mem::replace(&mut request.prompt, Prompt::Tokens(Vec::new())));
        asked.tools.clone_from(&request.tools);
        asked.tool_choice.clone_from(&request.tool_choice);
        let is_long = text_length(&asked.prompt) > LONG_TEXT;
        let prompts = Arc::clone(&self.prompts);
        let tokens = blocking(is_long, move || prompts.encode(&asked)).await??;
        let context_length = u64::from(self.info.context_length);
        let prompt_tokens = tokens.len() as u64;
        let room = context_length.saturating_sub(prompt_tokens);
        // Nothing is generated where only the prompt's log probabilities are wanted.
        let max_tokens = u64::from(request.max_tokens.unwrap_or(1));
        if max_tokens > room {
            return Err(ModelError::ContextOverflow { prompt_tokens, max_tokens, context_length });
        }
        Ok((tokens, request.max_tokens.unwrap_or(u32::try_from(room).unwrap_or(u32::MAX))))
    }
}

#[async_trait]
impl Model for LlamaCpp {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn generate(&self, mut request: GenerateRequest) -> Result<EventStream> {
        request.validate()?;
        let ready = held::prepare(&request, self.prompts.tool_format(), &self.vocabulary, &self.grammars).await?;
        let (mut prompt, max_tokens) = self.plan(&mut request).await?;
        if let Some(reason) = ready.ended {
            return Ok(held::ended(reason, prompt.len() as u64, request.output_prefix.len() as u64));
        }
        prompt.extend_from_slice(&request.output_prefix);
        if request.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(ModelError::DeadlineExceeded { stage: "in the queue".into() });
        }
        let (job, started, events) = job(request, prompt, max_tokens, ready.held, &self.mailbox);
        self.mailbox.submit(job)?;
        started.await.unwrap_or_else(|_| Err(ModelError::Internal("the engine stopped before it began".into())))?;
        let events = EventStream::new(events);
        Ok(match ready.parser {
            Some(parser) => chat::with_calls(events, parser),
            None => events,
        })
    }

    async fn render(&self, request: GenerateRequest) -> Result<String> {
        let prompts = Arc::clone(&self.prompts);
        blocking(text_length(&request.prompt) > LONG_TEXT, move || prompts.text(&request)).await?
    }

    async fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<TokenId>> {
        if text.len() <= LONG_TEXT {
            return Ok(self.vocabulary.tokenize(text, options));
        }
        let (vocabulary, text) = (self.vocabulary.clone(), text.to_owned());
        blocking(true, move || vocabulary.tokenize(&text, options)).await
    }

    async fn detokenize(&self, tokens: &[TokenId]) -> Result<String> {
        self.vocabulary.detokenize(tokens)
    }

    fn load(&self) -> Load {
        self.mailbox.load()
    }
}

impl std::fmt::Debug for LlamaCpp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LlamaCpp").field("info", &self.info).field("load", &self.mailbox.load()).finish_non_exhaustive()
    }
}

fn text_length(prompt: &Prompt) -> usize {
    match prompt {
        Prompt::Chat(messages) => messages.iter().map(|message| message.content.len()).sum(),
        Prompt::Text(text) => text.len(),
        _ => 0,
    }
}

/// Calls `work`, on another thread if it takes long.
async fn blocking<T: Send + 'static>(takes_long: bool, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if !takes_long {
        return Ok(work());
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| ModelError::Internal(format!("tokenisation failed: {e}")))
}
