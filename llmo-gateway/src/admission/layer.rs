//! Admission as a layer.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::Stream;
use llmo_core::model::{
    EmbedRequest, Embeddings, Event, EventStream, GenerateRequest, Load, Model, ModelError, ModelInfo, Ranking,
    RerankRequest, Result,
};
use parking_lot::Mutex;

use super::{AdmissionOptions, Allowance, Gate, GateState, Permit, Request};
use crate::replica::Claim;
use crate::router::Work;

/// How often it is asked how many slots there are.
const REFRESH: Duration = Duration::from_millis(100);
/// Whose requests those are that name no tenant.
const NOBODY: &str = "";

/// The gates of all models, by name. A model that changes keeps its gate, and with it its queue.
#[derive(Debug, Default)]
pub struct Gates {
    gates: Mutex<HashMap<String, Arc<Gate>>>,
    options: AdmissionOptions,
    allowance: Option<Arc<Allowance>>,
}

impl Gates {
    /// Gates with these bounds, each, and one allowance for all.
    #[must_use]
    pub fn new(options: AdmissionOptions, allowance: Option<Allowance>) -> Self {
        Self { gates: Mutex::default(), options, allowance: allowance.map(Arc::new) }
    }

    /// What tenants may use in a minute, if that is limited.
    #[must_use]
    pub fn allowance(&self) -> Option<&Arc<Allowance>> {
        self.allowance.as_ref()
    }

    /// The gate of a model.
    #[must_use]
    pub fn of(&self, model: &str) -> Arc<Gate> {
        let mut gates = self.gates.lock();
        Arc::clone(gates.entry(model.to_owned()).or_insert_with(|| Gate::new(self.options.clone())))
    }

    /// How they stand, in no order.
    #[must_use]
    pub fn states(&self) -> Vec<(String, GateState)> {
        self.gates.lock().iter().map(|(model, gate)| (model.clone(), gate.state())).collect()
    }
}

/// A model whose generations pass a [`Gate`]; a place is taken until the stream ends or is dropped. Embeddings and rankings
/// have no gate, since engines compute many of them together; they count for what a tenant may use.
pub struct Admit {
    inner: Arc<dyn Model>,
    gate: Arc<Gate>,
    allowance: Option<Arc<Allowance>>,
    asked: Mutex<Option<Instant>>,
}

impl Admit {
    /// Puts its gate before `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Model>, gates: &Gates) -> Self {
        let gate = gates.of(&inner.info().id);
        Self { inner, gate, allowance: gates.allowance.clone(), asked: Mutex::default() }
    }

    async fn enter(&self, tenant: &str, priority: i8, work: Work, deadline: Option<Instant>) -> Result<Permit> {
        if let Some(allowance) = &self.allowance {
            allowance.take(tenant, work.prompt.saturating_add(work.output).max(1)).await?;
        }
        let work = work.prompt.saturating_add(work.output * Claim::WRITING).max(1);
        let request = Request { tenant, priority, work, deadline };
        let now = Instant::now();
        let due = {
            let mut asked = self.asked.lock();
            let due = asked.is_none_or(|asked| now.saturating_duration_since(asked) >= REFRESH);
            if due {
                *asked = Some(now);
            }
            due
        };
        if due {
            self.gate.slots(self.inner.load().slots);
        }
        self.gate.enter(request).await
    }

    /// Counts the reading of these texts.
    async fn reads(&self, tenant: Option<&str>, texts: &[String]) -> Result<()> {
        let Some(allowance) = &self.allowance else { return Ok(()) };
        let bytes = texts.iter().map(String::len).sum();
        allowance.take(tenant.unwrap_or(NOBODY), Work::reading(bytes).prompt.max(1)).await
    }
}

fn learn(permit: &Permit, error: &ModelError) {
    if matches!(error, ModelError::Overloaded { .. }) {
        permit.refused();
    }
}

#[async_trait]
impl Model for Admit {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&*self.inner)
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        // An invalid request is refused as such, also when everything is full.
        request.validate()?;
        let tenant = request.tenant.as_deref().unwrap_or(NOBODY);
        let (priority, deadline) = (request.priority, request.deadline);
        let permit = self.enter(tenant, priority, Work::of(&request), deadline).await?;
        let sent = Instant::now();
        let stream = self.inner.generate(request).await.inspect_err(|error| learn(&permit, error))?;
        // A routed model answers with its first token.
        permit.began(sent.elapsed());
        let origin = stream.origin.clone();
        Ok(EventStream::new(Admitted { stream, permit: Some(permit) }).with_origin(origin))
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        self.reads(request.tenant.as_deref(), &request.input).await?;
        self.inner.embed(request).await
    }

    async fn rerank(&self, request: RerankRequest) -> Result<Ranking> {
        self.reads(request.tenant.as_deref(), &request.documents).await?;
        self.inner.rerank(request).await
    }

    fn load(&self) -> Load {
        let mut load = self.inner.load();
        let queued = u32::try_from(self.gate.state().queued).unwrap_or(u32::MAX);
        load.queued_requests = load.queued_requests.saturating_add(queued);
        load
    }
}

/// A stream and its place.
struct Admitted {
    stream: EventStream,
    permit: Option<Permit>,
}

impl Stream for Admitted {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = futures::ready!(Pin::new(&mut self.stream).poll_next(cx));
        if !matches!(event, Some(Ok(Event::Delta(_)))) {
            // Free before the end is seen: the caller's next request finds the place.
            self.permit = None;
        }
        Poll::Ready(event)
    }
}
