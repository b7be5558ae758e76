//! The model that others see.

use std::sync::Arc;

use async_trait::async_trait;
use llmo_core::model::{
    EmbedRequest, Embeddings, EventStream, GenerateRequest, Load, Process, Ranking, RerankRequest, Result, TokenId,
    TokenizeOptions,
};
use llmo_core::{Model, ModelError, ModelInfo};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::super::super::terms::{OnProgress, Outcome};
use super::super::options::ChildOptions;
use super::super::protocol::{Answer, Call, WINDOW};
use super::super::spec::Spec;
use super::launch::{Failure, launch};
use super::link::{Opening, Reply};
use super::state::{Keeper, State, in_time};
use super::stream::Events;
use super::supervisor::supervise;

/// A model in a process of its own.
///
/// An abort in the engine ends its process and the requests in it, with [`ModelError::EngineDied`]: those without output
/// can be tried elsewhere. The process is started again, with growing waits. Requests that were there when it died come back one at a time, so that
/// one that kills it is found: it is refused with [`ModelError::Crashed`].
///
/// Dropping the model and all its streams ends the process, and its memory is free a moment later.
pub struct ChildModel {
    keeper: Arc<Keeper>,
}

impl ChildModel {
    /// Starts a process and loads a model in it. Must be called in a runtime, which has to outlive the model.
    ///
    /// # Errors
    /// The engine's own reason. [`ModelError::Corrupt`] if native code crashed over the file; it is not tried again.
    pub async fn load(spec: Spec, options: ChildOptions) -> Result<Self> {
        Self::load_watched(spec, options, Arc::new(|_| ())).await.map(|(model, _)| model)
    }

    /// The same; `watch` is told how far it is. Also gives what the engine says of what it has loaded.
    pub(in super::super::super) async fn load_watched(
        spec: Spec,
        options: ChildOptions,
        watch: OnProgress,
    ) -> Result<(Self, Outcome)> {
        let suspects = Arc::default();
        let launched = launch(&spec, &options, &suspects, &watch).await;
        let (life, info, outcome) = launched.map_err(|failure| match failure {
            Failure::Refused(error) => error,
            Failure::Died(death, last_words) => {
                tracing::error!(model = spec.id(), %death, ?last_words, "an engine's process died while it loaded");
                death.while_loading(spec.id(), &last_words)
            }
        })?;
        tracing::info!(model = info.id, process = life.link.process, "loaded in a process of its own");
        let state = Arc::new(State::new(spec.again(&outcome), options, info, Arc::clone(&life.link), suspects));
        let stop = CancellationToken::new();
        tokio::spawn(supervise(Arc::clone(&state), life, stop.clone()));
        Ok((Self { keeper: Arc::new(Keeper { state, _stop: stop.drop_guard() }) }, outcome))
    }

    fn state(&self) -> &State {
        &self.keeper.state
    }

    /// Makes a call whose answer comes at once.
    async fn ask(&self, call: Call) -> Result<Answer> {
        let deadline = call.deadline();
        let (fingerprint, probation) = self.state().admit(&call).await?;
        let (sender, answer) = oneshot::channel();
        let opening = Opening { call, fingerprint, probation, reply: Reply::Once(sender) };
        let _ticket = self.state().link()?.open(opening)?;
        in_time(deadline, "in the engine", answer).await?.unwrap_or_else(|_| Err(lost()))
    }
}

#[async_trait]
impl Model for ChildModel {
    fn info(&self) -> &ModelInfo {
        &self.keeper.state.info
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        let call = Call::Generate(Box::new(request));
        let deadline = call.deadline();
        let (fingerprint, probation) = self.state().admit(&call).await?;
        let (sender, started) = oneshot::channel();
        // Behind a whole window of events there is room for an error.
        let (events, receiver) = mpsc::channel(WINDOW as usize + 1);
        let reply = Reply::Stream { started: Some(sender), events };
        let ticket = self.state().link()?.open(Opening { call, fingerprint, probation, reply })?;
        in_time(deadline, "in the queue", started).await?.unwrap_or_else(|_| Err(lost()))?;
        Ok(EventStream::new(Events::new(receiver, ticket, Arc::clone(&self.keeper))))
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        match self.ask(Call::Embed(Box::new(request))).await? {
            Answer::Embeddings(embeddings) => Ok(embeddings),
            other => Err(strange(&other)),
        }
    }

    async fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<TokenId>> {
        match self.ask(Call::Tokenize(text.to_owned(), options)).await? {
            Answer::Tokens(tokens) => Ok(tokens),
            other => Err(strange(&other)),
        }
    }

    async fn detokenize(&self, tokens: &[TokenId]) -> Result<String> {
        match self.ask(Call::Detokenize(tokens.to_vec())).await? {
            Answer::Text(text) => Ok(text),
            other => Err(strange(&other)),
        }
    }

    async fn render(&self, request: GenerateRequest) -> Result<String> {
        match self.ask(Call::Render(Box::new(request))).await? {
            Answer::Text(text) => Ok(text),
            other => Err(strange(&other)),
        }
    }

    async fn rerank(&self, request: RerankRequest) -> Result<Ranking> {
        match self.ask(Call::Rerank(Box::new(request))).await? {
            Answer::Ranking(ranking) => Ok(ranking),
            other => Err(strange(&other)),
        }
    }

    fn load(&self) -> Load {
        self.state().load()
    }

    fn process(&self) -> Option<Process> {
        Some(self.state().process())
    }
}

impl std::fmt::Debug for ChildModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChildModel").field("info", self.info()).field("process", &self.process()).finish()
    }
}

/// The call vanished without a word, which only happens while everything is torn down.
fn lost() -> ModelError {
    ModelError::unavailable("the engine's process has gone")
}

fn strange(answer: &Answer) -> ModelError {
    let kind = match answer {
        Answer::Embeddings(_) => "vectors",
        Answer::Tokens(_) => "tokens",
        Answer::Text(_) => "text",
        Answer::Ranking(_) => "scores",
    };
    ModelError::Internal(format!("the engine's process answered a question with {kind}, which were not asked for"))
}
