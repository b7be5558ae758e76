//! The upstream as a [`Model`].

use async_trait::async_trait;
use llmo_core::model::{
    CacheStatus, Constraint, EmbedRequest, Embeddings, Event, EventStream, GenerateRequest, KeepAlive, Load, Model,
    ModelError, ModelInfo, Origin, Prompt, Ranking, RerankRequest, Result, TokenId, TokenizeOptions,
};
use tokio::time::Instant;

use super::client::{Fields, Headers, Response};
use super::in_flight::{Guard, InFlight};
use super::options::RemoteOptions;
use super::patience::Patience;
use super::request::{Post, Upstream};
use super::response::{Read, Reader};
use super::stream::{self, Answer};
use super::transport::{self, Caller, Transport};
use super::{embeddings, request, rerank, upkeep};

/// A model behind an OpenAI-compatible HTTP service. See the [module](super).
///
/// ```no_run
/// # async fn example() -> llmo_core::model::Result<()> {
/// use llmo_backends::remote::{RemoteModel, RemoteOptions};
/// use llmo_core::{GenerateRequest, Model, ModelInfo};
///
/// let mut info = ModelInfo::new("smollm2-135m", "remote");
/// info.capabilities.generate = true;
/// info.capabilities.chat = true;
/// let model = RemoteModel::new(info, "http://127.0.0.1:8000", RemoteOptions::default())?;
/// let (output, _) = model.generate(GenerateRequest::ask("Hello?")).await?.collect_all().await?;
/// println!("{}", output.text);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct RemoteModel {
    info: ModelInfo,
    options: RemoteOptions,
    transport: Transport,
    in_flight: InFlight,
}

impl RemoteModel {
    /// A model at `base_url`, the root of the service or its `/v1`. Nothing is sent yet. `info` is believed: it is what
    /// the caller knows of the upstream, and its capabilities decide what is asked of it.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] for a URL or key that can't be used.
    pub fn new(info: ModelInfo, base_url: &str, options: RemoteOptions) -> Result<Self> {
        let transport = Transport::new(base_url, &options)?;
        Ok(Self { info, options, transport, in_flight: InFlight::default() })
    }

    /// The root of the service.
    #[must_use]
    pub fn base_url(&self) -> &str {
        self.transport.base()
    }

    fn upstream(&self) -> Upstream<'_> {
        let model = self.options.upstream_model.as_deref().unwrap_or(&self.info.id);
        Upstream { model, extensions: self.options.extensions }
    }

    /// Can the upstream do this?
    fn require(&self, capability: bool, what: &str) -> Result<()> {
        if capability { Ok(()) } else { Err(ModelError::unsupported(&self.info, what)) }
    }

    fn check(&self, request: &GenerateRequest) -> Result<()> {
        let can = self.info.capabilities;
        self.require(can.generate, "text generation")?;
        self.require(can.chat || !matches!(request.prompt, Prompt::Chat(_)), "chat")?;
        self.require(can.logprobs || request.logprobs.is_none(), "log probabilities")?;
        // JSON formats are OpenAI's own; what else an upstream would overlook has to be known to work there.
        let is_json =
            |constraint: &Constraint| matches!(constraint, Constraint::JsonObject | Constraint::JsonSchema(_));
        let is_known = can.constraints || request.constraint.as_ref().is_none_or(is_json);
        self.require(is_known, "constraints on the output other than JSON")?;
        request.validate()
    }

    async fn whole(&self, post: Post, caller: Caller<'_>, patience: &Patience) -> Result<Vec<u8>> {
        let _running = self.in_flight.enter();
        let exchange = async {
            let response = self.transport.post(post, caller, &self.info.id).await?;
            transport::read_body(response, self.options.max_body_bytes).await
        };
        patience.wait(exchange).await?
    }

    /// An answer that came whole although a stream was asked for.
    async fn unstreamed(&self, response: Response, mut reader: Reader, running: Guard) -> Result<EventStream> {
        let body = transport::read_body(response, self.options.max_body_bytes).await?;
        let delta = match reader.json(&body)? {
            Read::Delta(delta) => Some(Ok(Event::Delta(delta))),
            Read::Nothing | Read::Done => None,
        };
        let finish = Ok(Event::Finish(reader.finish()?));
        drop(running);
        Ok(EventStream::new(futures::stream::iter(delta.into_iter().chain([finish]))))
    }
}

#[async_trait]
impl Model for RemoteModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        self.generate_borrowed(&request).await
    }

    async fn generate_borrowed(&self, request: &GenerateRequest) -> Result<EventStream> {
        self.check(request)?;
        let now = Instant::now();
        let patience = Patience::new(&self.options, request.deadline, now)?;
        let post = request::generate(request, self.upstream())?;
        let caller = Caller {
            request_id: request.request_id.as_deref(),
            tenant: request.tenant.as_deref(),
            remaining: patience.remaining(now),
            priority: request.priority,
            cache: request.cache,
            traceparent: request.traceparent.as_deref(),
            tracestate: request.tracestate.as_deref(),
        };
        let running = self.in_flight.enter();
        let response = patience.wait(self.transport.post(post, caller, &self.info.id)).await??;
        let origin = origin(&response.headers);
        let reader = Reader::new(&self.info.id).expecting_prompt(request.prompt_logprobs.is_some());
        let stream = match content_type(&response.headers) {
            "text/event-stream" => {
                let answer = Answer::new(response, self.options.max_event_bytes, reader, patience, running);
                EventStream::new(answer)
            }
            "application/json" => patience.wait(self.unstreamed(response, reader, running)).await??,
            other => return Err(stream::strange_type(other)),
        };
        Ok(stream.with_origin(origin))
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        self.require(self.info.capabilities.embed, "embeddings")?;
        let now = Instant::now();
        let patience = Patience::new(&self.options, request.deadline, now)?;
        let caller = Caller {
            request_id: request.request_id.as_deref(),
            tenant: request.tenant.as_deref(),
            remaining: patience.remaining(now),
            cache: request.cache,
            ..Caller::default()
        };
        let post = embeddings::embed(&request, self.upstream())?;
        let body = self.whole(post, caller, &patience).await?;
        embeddings::read_embeddings(&body, request.input.len())
    }

    async fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<TokenId>> {
        self.require(self.info.capabilities.tokenize, "tokenization")?;
        let patience = Patience::new(&self.options, None, Instant::now())?;
        let post = embeddings::tokenize(text, options, self.upstream());
        embeddings::read_tokens(&self.whole(post, Caller::default(), &patience).await?)
    }

    async fn detokenize(&self, tokens: &[TokenId]) -> Result<String> {
        self.require(self.info.capabilities.tokenize, "detokenization")?;
        let patience = Patience::new(&self.options, None, Instant::now())?;
        let post = embeddings::detokenize(tokens, self.upstream());
        embeddings::read_text(&self.whole(post, Caller::default(), &patience).await?)
    }

    async fn render(&self, request: GenerateRequest) -> Result<String> {
        self.require(self.info.capabilities.chat && self.options.extensions, "rendering of its chat template")?;
        let now = Instant::now();
        let patience = Patience::new(&self.options, request.deadline, now)?;
        let caller = Caller {
            request_id: request.request_id.as_deref(),
            tenant: request.tenant.as_deref(),
            remaining: patience.remaining(now),
            cache: request.cache,
            priority: request.priority,
            ..Caller::default()
        };
        let post = upkeep::apply_template(&request, self.upstream())?;
        upkeep::read_prompt(&self.whole(post, caller, &patience).await?)
    }

    async fn rerank(&self, request: RerankRequest) -> Result<Ranking> {
        self.require(self.info.capabilities.rerank, "reranking")?;
        let now = Instant::now();
        let patience = Patience::new(&self.options, request.deadline, now)?;
        let caller = Caller {
            request_id: request.request_id.as_deref(),
            tenant: request.tenant.as_deref(),
            remaining: patience.remaining(now),
            ..Caller::default()
        };
        let post = rerank::rerank(&request, self.upstream());
        rerank::read_ranking(&self.whole(post, caller, &patience).await?, request.documents.len())
    }

    async fn keep(&self, keep_alive: KeepAlive) -> Result<()> {
        self.require(self.options.extensions, "being loaded and unloaded")?;
        let patience = Patience::new(&self.options, None, Instant::now())?;
        self.whole(upkeep::keep(keep_alive, self.upstream()), Caller::default(), &patience).await.map(drop)
    }

    fn load(&self) -> Load {
        self.in_flight.load(self.options.slots)
    }
}

fn content_type(headers: &Headers) -> &str {
    let value = headers.text("content-type").unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// What the upstream tells about where its answer comes from.
fn origin(headers: &Headers) -> Origin {
    let header = |name: &str| headers.text(name);
    let mut origin = Origin::default();
    origin.cache = match header("x-cache") {
        Some("hit") => CacheStatus::Hit,
        Some("miss") => CacheStatus::Miss,
        Some("bypass") => CacheStatus::Bypass,
        Some("coalesced") => CacheStatus::Coalesced,
        _ => CacheStatus::None,
    };
    origin.replica = header("x-llmo-replica").map(str::to_owned);
    origin
}
