//! What a caller asks of a model, independent of any HTTP dialect.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::constraint::Constraint;
use super::sampling::{SamplingParams, TokenId};
use super::tool::{self, Tool, ToolChoice};
use super::{KeepAlive, Message, ModelError, Origin, Result, Usage};

/// Most stop strings a request may have.
pub const MAX_STOPS: usize = 16;
/// Longest stop string, in bytes.
pub const MAX_STOP_BYTES: usize = 1024;
/// Most tokens that end a generation.
pub const MAX_STOP_TOKENS: usize = 64;
/// Most alternatives in `top_logprobs`.
pub const MAX_TOP_LOGPROBS: u32 = 20;

/// The input of a generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Prompt {
    /// A conversation, rendered by the model's own chat template.
    Chat(Vec<Message>),
    /// Plain text, continued as it stands.
    Text(String),
    /// Tokens of this very model. What a router uses to continue a broken stream.
    Tokens(Vec<TokenId>),
}

/// A request to generate text. Its serialised form is for processes of one build: an instant means nothing elsewhere, so
/// the deadline is not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GenerateRequest {
    /// The input.
    pub prompt: Prompt,
    /// Most tokens to generate; `None`: as many as the context holds. 0 only with `prompt_logprobs`.
    pub max_tokens: Option<u32>,
    /// Strings that end the generation; none of them appears in the output.
    pub stop: Vec<String>,
    /// Tokens that end the generation, besides the model's own; they are not part of the output. At most 64.
    pub stop_tokens: Vec<TokenId>,
    /// How tokens are drawn.
    pub sampling: SamplingParams,
    /// Report the log probability of each token and of this many alternatives (`Some(0)`: of the token only).
    pub logprobs: Option<u32>,
    /// Report the log probabilities of the prompt's own tokens too, and of this many alternatives each. Costs the use of
    /// the prefix cache; refused where the backend can't.
    pub prompt_logprobs: Option<u32>,
    /// The caller reads token ids: a remote model asks its upstream for them.
    pub token_ids: bool,
    /// After this instant nobody waits for the answer: the model stops, or does not start.
    #[serde(skip)]
    pub deadline: Option<Instant>,
    /// Identifies the request in logs of every service it passes.
    pub request_id: Option<String>,
    /// Who asks, as far as caches and limits must keep callers apart.
    pub tenant: Option<String>,
    /// May the answer come from, and go to, a response cache?
    pub cache: CacheUse,
    /// What the output must look like. With tools it holds for answers that call none.
    pub constraint: Option<Constraint>,
    /// Tokens of the output that were generated already, by another replica say: the model goes on behind them. All
    /// other fields are those of the whole request; the stream yields only what comes after. Sampling with mirostat needs
    /// its `mu` besides.
    #[serde(default)]
    pub output_prefix: Vec<TokenId>,
    /// Functions that the model may call; only in a conversation.
    pub tools: Vec<Tool>,
    /// Must it call one?
    pub tool_choice: ToolChoice,
    /// May it call several at once?
    pub parallel_tool_calls: bool,
    /// Small weights over the model's own.
    pub adapter: Option<Adapter>,
    /// Who goes first in a queue: the larger number. Neighbours of equal priority are served in turn.
    pub priority: i8,
    /// W3C trace context (`traceparent`) of the caller, passed on to whatever this request causes.
    pub traceparent: Option<String>,
    /// What tracing systems want passed on with it (`tracestate`).
    #[serde(default)]
    pub tracestate: Option<String>,
    /// Is the caller told why its replica was chosen ([`Origin::route`])?
    #[serde(skip)]
    pub explain: bool,
    /// How long the model stays in memory after this request; `None`: as long as was said last.
    pub keep_alive: Option<KeepAlive>,
}

/// A LoRA adapter for one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Adapter {
    /// Its name among the adapters of the model.
    pub name: String,
    /// How strongly it works: 0.0 not at all, 1.0 as trained.
    pub scale: f32,
}

impl Adapter {
    /// An adapter at full strength.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), scale: 1.0 }
    }
}

/// How a request uses response caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CacheUse {
    /// Read and write, if the request is deterministic.
    #[default]
    Default,
    /// Don't read, but write (HTTP's `Cache-Control: no-cache`).
    Refresh,
    /// Neither (HTTP's `Cache-Control: no-store`).
    Off,
}

impl GenerateRequest {
    /// A request with default sampling (greedy) and no limit but the context.
    #[must_use]
    pub fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            max_tokens: None,
            stop: Vec::new(),
            stop_tokens: Vec::new(),
            sampling: SamplingParams::default(),
            logprobs: None,
            prompt_logprobs: None,
            token_ids: false,
            deadline: None,
            request_id: None,
            tenant: None,
            cache: CacheUse::Default,
            constraint: None,
            output_prefix: Vec::new(),
            tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            parallel_tool_calls: true,
            adapter: None,
            priority: 0,
            traceparent: None,
            tracestate: None,
            explain: false,
            keep_alive: None,
        }
    }

    /// A conversation of one user message.
    #[must_use]
    pub fn ask(question: impl Into<String>) -> Self {
        Self::new(Prompt::Chat(vec![Message::user(question)]))
    }

    /// Plain text to continue.
    #[must_use]
    pub fn complete(text: impl Into<String>) -> Self {
        Self::new(Prompt::Text(text.into()))
    }

    /// Limits the output.
    #[must_use]
    pub fn max_tokens(mut self, tokens: u32) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Adds a stop string.
    #[must_use]
    pub fn stop(mut self, stop: impl Into<String>) -> Self {
        self.stop.push(stop.into());
        self
    }

    /// Sets the sampling parameters.
    #[must_use]
    pub fn sampling(mut self, sampling: SamplingParams) -> Self {
        self.sampling = sampling;
        self
    }

    /// Gives up after `wait` from `now`.
    #[must_use]
    pub fn deadline_after(mut self, now: Instant, wait: Duration) -> Self {
        self.deadline = now.checked_add(wait);
        self
    }

    /// Would the same request give the same output again? True for greedy and for seeded sampling.
    #[must_use]
    pub fn is_deterministic(&self) -> bool {
        self.sampling.temperature == 0.0 || self.sampling.seed.is_some()
    }

    /// Checks everything that can be checked without the model.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`], naming the parameter.
    pub fn validate(&self) -> Result<()> {
        self.sampling.validate()?;
        match &self.prompt {
            Prompt::Chat(messages) if messages.is_empty() => {
                return Err(ModelError::invalid("messages", "must hold at least one message"));
            }
            Prompt::Tokens(tokens) if tokens.is_empty() => {
                return Err(ModelError::invalid("prompt", "must hold at least one token"));
            }
            _ => {}
        }
        // Nothing to generate makes sense only for who wants to know about the prompt.
        if self.max_tokens == Some(0) && self.prompt_logprobs.is_none() {
            return Err(ModelError::invalid("max_tokens", "must be at least 1"));
        }
        if self.stop.len() > MAX_STOPS {
            return Err(ModelError::invalid("stop", format!("at most {MAX_STOPS} strings, got {}", self.stop.len())));
        }
        if self.stop.iter().any(String::is_empty) {
            return Err(ModelError::invalid("stop", "must not hold an empty string"));
        }
        if self.stop.iter().any(|s| s.len() > MAX_STOP_BYTES) {
            return Err(ModelError::invalid("stop", format!("each at most {MAX_STOP_BYTES} bytes long")));
        }
        tool::validate(&self.tools, &self.tool_choice)?;
        if self.stop_tokens.len() > MAX_STOP_TOKENS {
            let message = format!("at most {MAX_STOP_TOKENS} tokens, got {}", self.stop_tokens.len());
            return Err(ModelError::invalid("stop_token_ids", message));
        }
        for (name, asked) in [("top_logprobs", self.logprobs), ("prompt_logprobs", self.prompt_logprobs)] {
            if let Some(n) = asked.filter(|n| *n > MAX_TOP_LOGPROBS) {
                return Err(ModelError::invalid(name, format!("at most {MAX_TOP_LOGPROBS}, got {n}")));
            }
        }
        Ok(())
    }
}

/// A request to embed texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EmbedRequest {
    /// The texts; one vector each.
    pub input: Vec<String>,
    /// Keep only this many leading dimensions (then normalised again); `None`: all.
    pub dimensions: Option<u32>,
    /// Cut a text that is too long, instead of refusing it.
    pub truncate: bool,
    /// Identifies the request in logs.
    pub request_id: Option<String>,
    /// After this instant nobody waits for the answer.
    #[serde(skip)]
    pub deadline: Option<Instant>,
    /// Who asks, as far as caches and limits must keep callers apart.
    pub tenant: Option<String>,
    /// May vectors come from, and go to, a cache?
    pub cache: CacheUse,
    /// How long the model stays in memory after this request; `None`: as long as was said last.
    pub keep_alive: Option<KeepAlive>,
}

impl EmbedRequest {
    /// Embeds these texts.
    #[must_use]
    pub fn new<S: Into<String>>(input: impl IntoIterator<Item = S>) -> Self {
        Self {
            input: input.into_iter().map(Into::into).collect(),
            dimensions: None,
            truncate: false,
            request_id: None,
            deadline: None,
            tenant: None,
            cache: CacheUse::Default,
            keep_alive: None,
        }
    }
}

/// What [`Model::embed`](super::Model::embed) gives.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Embeddings {
    /// One vector an input, in order, all of one length and of unit norm.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens read.
    pub usage: Usage,
    /// Where the vectors come from. A cache says `Hit` only if none of them had to be computed.
    pub origin: Origin,
}

impl Embeddings {
    /// Vectors and what they cost.
    #[must_use]
    pub fn new(vectors: Vec<Vec<f32>>, usage: Usage) -> Self {
        Self { vectors, usage, origin: Origin::default() }
    }
}

/// A request to judge documents by how well they answer a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RerankRequest {
    /// What is looked for.
    pub query: String,
    /// The candidates.
    pub documents: Vec<String>,
    /// Cut a document that is too long, instead of refusing it.
    pub truncate: bool,
    /// Identifies the request in logs.
    pub request_id: Option<String>,
    /// After this instant nobody waits for the answer.
    #[serde(skip)]
    pub deadline: Option<Instant>,
    /// Who asks, as far as caches and limits must keep callers apart.
    pub tenant: Option<String>,
}

impl RerankRequest {
    /// Judges these documents.
    #[must_use]
    pub fn new<S: Into<String>>(query: impl Into<String>, documents: impl IntoIterator<Item = S>) -> Self {
        Self {
            query: query.into(),
            documents: documents.into_iter().map(Into::into).collect(),
            truncate: true,
            request_id: None,
            deadline: None,
            tenant: None,
        }
    }
}

/// What [`Model::rerank`](super::Model::rerank) gives.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ranking {
    /// One score a document, in the order of the documents; higher is better.
    pub scores: Vec<f32>,
    /// Tokens read.
    pub usage: Usage,
}

impl Ranking {
    /// Scores and what they cost.
    #[must_use]
    pub fn new(scores: Vec<f32>, usage: Usage) -> Self {
        Self { scores, usage }
    }
}

/// How text becomes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenizeOptions {
    /// Add the tokens that the model wants around every text (BOS, `[CLS]`).
    pub add_special: bool,
    /// Read markers such as `<|im_start|>` as the special tokens they name. Never for text of users.
    pub parse_special: bool,
}

impl TokenizeOptions {
    /// The default with BOS and its like added.
    #[must_use]
    pub fn with_special() -> Self {
        Self { add_special: true, parse_special: false }
    }
}
