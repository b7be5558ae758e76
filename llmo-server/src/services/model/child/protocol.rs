//! What a service and its engine process say to each other.

use std::time::Duration;

use llmo_core::model::{
    EmbedRequest, Embeddings, Event, GenerateRequest, Load, LoadProgress, ModelInfo, Ranking, RerankRequest, TokenId,
    TokenizeOptions,
};
use llmo_core::{ModelError, model};
use serde::{Deserialize, Serialize};

use super::super::terms::Outcome;
use super::spec::Spec;
use crate::telemetry::LogStyle;

/// Both ends must be of one build.
pub(super) const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), "/2");

/// Events of a stream that may be on the way before its reader takes one. The engine pauses the stream past that, and
/// only this stream: a slow reader costs the others nothing.
pub(super) const WINDOW: u32 = 64;

/// How often the engine's process says that it lives.
pub(super) const BEAT: Duration = Duration::from_millis(500);

/// A request, for as long as it lasts.
pub(super) type CallId = u64;

/// What the service says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Command {
    /// The first word: load this.
    Start(Box<Start>),
    /// Do this.
    Run(Box<Run>),
    /// Nobody waits for this any more.
    Cancel(CallId),
    /// The reader took so many events of this stream.
    Credit(CallId, u32),
    /// Free the model and end.
    Stop,
}

/// What to load, and how to log.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) spec: Spec,
    pub(super) log: LogStyle,
}

/// A request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) id: CallId,
    /// How much time is left.
    pub(super) time: Option<Duration>,
    pub(super) call: Call,
}

/// The operations of a model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Call {
    Generate(Box<GenerateRequest>),
    Embed(Box<EmbedRequest>),
    Tokenize(String, TokenizeOptions),
    Detokenize(Vec<TokenId>),
    Render(Box<GenerateRequest>),
    Rerank(Box<RerankRequest>),
}

/// What the engine's process says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The first word: which build it is.
    Hello(String),
    /// The model is on its way, and this is how far.
    Loading(LoadProgress),
    /// The model is there.
    Loaded(Box<ModelInfo>, Outcome),
    /// The model can't be loaded; the process ends.
    NotLoaded(ModelError),
    /// The process lives, and this is how busy its engine is.
    Beat(Load),
    /// A generation was accepted.
    Started(CallId),
    /// A stream goes on.
    Event(CallId, Event),
    /// Anything else was done.
    Answer(CallId, Answer),
    /// It was refused, or failed.
    Failed(CallId, ModelError),
}

/// What an operation gave that is not a stream.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Embeddings(Embeddings),
    Tokens(Vec<TokenId>),
    Text(String),
    Ranking(Ranking),
}

impl Call {
    /// Its name in logs.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Generate(_) => "generate",
            Self::Embed(_) => "embed",
            Self::Tokenize(..) => "tokenize",
            Self::Detokenize(_) => "detokenize",
            Self::Render(_) => "render",
            Self::Rerank(_) => "rerank",
        }
    }

    /// The caller's name for it.
    pub(super) fn request_id(&self) -> Option<&str> {
        match self {
            Self::Generate(request) | Self::Render(request) => request.request_id.as_deref(),
            Self::Embed(request) => request.request_id.as_deref(),
            Self::Rerank(request) => request.request_id.as_deref(),
            Self::Tokenize(..) | Self::Detokenize(_) => None,
        }
    }

    /// When nobody waits for it any more.
    pub(super) fn deadline(&self) -> Option<std::time::Instant> {
        match self {
            Self::Generate(request) | Self::Render(request) => request.deadline,
            Self::Embed(request) => request.deadline,
            Self::Rerank(request) => request.deadline,
            Self::Tokenize(..) | Self::Detokenize(_) => None,
        }
    }

    /// Sets when nobody waits for it any more.
    pub(super) fn set_deadline(&mut self, deadline: Option<std::time::Instant>) {
        match self {
            Self::Generate(request) | Self::Render(request) => request.deadline = deadline,
            Self::Embed(request) => request.deadline = deadline,
            Self::Rerank(request) => request.deadline = deadline,
            Self::Tokenize(..) | Self::Detokenize(_) => {}
        }
    }

    /// The same call without what two calls for the same thing may differ in: who asks, under which name, how urgently,
    /// how far another replica had got, and the seed, which says nothing about what an engine dies of.
    pub(super) fn content(&self) -> Self {
        let mut call = self.clone();
        match &mut call {
            Self::Generate(request) | Self::Render(request) => {
                request.request_id = None;
                request.tenant = None;
                (request.traceparent, request.tracestate) = (None, None);
                request.keep_alive = None;
                request.output_prefix = Vec::new();
                request.priority = 0;
                request.sampling.seed = None;
                request.cache = model::CacheUse::Default;
            }
            Self::Embed(request) => {
                (request.request_id, request.tenant, request.cache) = (None, None, Default::default())
            }
            Self::Rerank(request) => (request.request_id, request.tenant) = (None, None),
            Self::Tokenize(..) | Self::Detokenize(_) => {}
        }
        call
    }
}
