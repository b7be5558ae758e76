//! The layer that sees answers end.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use llmo_core::model::{
    EmbedRequest, Embeddings, Event, EventStream, GenerateRequest, Load, Model, ModelInfo, Models, Origin, PullStream,
    Ranking, RerankRequest, Result, RunningModel, Usage,
};

use super::request::{Bill, prompt_of};
use super::{Entry, Ledger};

/// Models whose use is written down. The outermost layer: it sees what callers get, answers from a cache included.
pub struct LedgeredModels<M> {
    inner: M,
    ledger: Ledger,
}

impl<M: Models> LedgeredModels<M> {
    /// Writes down what is used of `inner`.
    #[must_use]
    pub fn new(inner: M, ledger: Ledger) -> Self {
        Self { inner, ledger }
    }
}

#[async_trait]
impl<M: Models> Models for LedgeredModels<M> {
    async fn resolve(&self, name: &str) -> Result<Arc<dyn Model>> {
        let inner = self.inner.resolve(name).await?;
        Ok(Arc::new(Ledgered { inner, ledger: self.ledger.clone() }))
    }

    async fn list(&self) -> Vec<ModelInfo> {
        self.inner.list().await
    }

    async fn running(&self) -> Vec<RunningModel> {
        self.inner.running().await
    }

    async fn pull(&self, name: &str) -> Result<PullStream> {
        self.inner.pull(name).await
    }

    fn ready(&self) -> std::result::Result<(), Vec<String>> {
        self.inner.ready()
    }
}

struct Ledgered {
    inner: Arc<dyn Model>,
    ledger: Ledger,
}

impl Ledgered {
    /// What is known of a request before its end.
    fn about(&self, request_id: Option<String>, tenant: Option<String>, origin: &Origin) -> Entry {
        Entry {
            request_id,
            tenant,
            model: origin.model.clone().unwrap_or_else(|| self.info().id.clone()),
            cache: origin.cache.header().map(str::to_owned),
            ..Entry::default()
        }
    }

    /// One that is over as soon as it is answered.
    async fn whole(&self, operation: &str, about: Entry, usage: Usage) {
        let entry = Entry {
            operation: operation.to_owned(),
            prompt_tokens: Some(usage.prompt_tokens),
            cached_tokens: usage.cached_tokens,
            completion_tokens: usage.completion_tokens,
            ended: "stop".to_owned(),
            ..about
        };
        if let Some(pending) = self.ledger.record(entry) {
            pending.wait().await;
        }
    }
}

#[async_trait]
impl Model for Ledgered {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&*self.inner)
    }

    /// What is refused before it begins has used nothing, and has no line.
    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        let (bill, prompt) = (Bill::current(&self.ledger), prompt_of(&request));
        let (request_id, tenant) = (request.request_id.clone(), request.tenant.clone());
        let answer = self.inner.generate(request).await?;
        let part = bill.part(prompt, |entry| {
            let operation = std::mem::take(&mut entry.operation);
            *entry = Entry { operation, ..self.about(request_id, tenant, &answer.origin) };
        });
        let mut part = Some(part);
        Ok(answer.map_stream(|events| {
            events.then(move |event| {
                let written = match &event {
                    Ok(Event::Finish(finish)) => part.take().and_then(|part| part.finished(finish)),
                    Err(error) => part.take().and_then(|part| part.failed(error.code())),
                    Ok(Event::Delta(delta)) => {
                        part.iter_mut().for_each(|part| part.tokens += delta.tokens.len() as u64);
                        None
                    }
                    Ok(_) => None,
                };
                async move {
                    // The caller learns that the answer is whole when its line can't be lost any more.
                    if let Some(pending) = written {
                        pending.wait().await;
                    }
                    event
                }
            })
        }))
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        let (request_id, tenant) = (request.request_id.clone(), request.tenant.clone());
        let answer = self.inner.embed(request).await?;
        self.whole("embed", self.about(request_id, tenant, &answer.origin), answer.usage).await;
        Ok(answer)
    }

    async fn rerank(&self, request: RerankRequest) -> Result<Ranking> {
        let (request_id, tenant) = (request.request_id.clone(), request.tenant.clone());
        let answer = self.inner.rerank(request).await?;
        self.whole("rerank", self.about(request_id, tenant, &Origin::default()), answer.usage).await;
        Ok(answer)
    }

    fn load(&self) -> Load {
        self.inner.load()
    }
}

#[cfg(test)]
mod tests {
    use llmo_backends::sim::{Fault, SimModel, SimOptions};
    use llmo_core::model::SingleModel;

    use super::*;

    struct Site {
        models: LedgeredModels<SingleModel>,
        sim: Arc<SimModel>,
        ledger: Ledger,
        dir: tempfile::TempDir,
    }

    impl Site {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let ledger = Ledger::open(&dir.path().join("usage.jsonl"), 1 << 20).expect("it opens");
            let sim = Arc::new(SimModel::new(SimOptions::named("m")));
            let models = LedgeredModels::new(SingleModel::new(Arc::clone(&sim) as _), ledger.clone());
            Self { models, sim, ledger, dir }
        }

        async fn model(&self) -> Arc<dyn Model> {
            self.models.resolve("m").await.expect("there")
        }

        async fn lines(&self) -> Vec<Entry> {
            self.ledger.flush().await;
            let text = std::fs::read_to_string(self.dir.path().join("usage.jsonl")).expect("there");
            text.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect()
        }
    }

    fn ask(tokens: u32) -> GenerateRequest {
        let mut request = GenerateRequest::ask("hello").max_tokens(tokens);
        (request.request_id, request.tenant) = (Some("r".into()), Some("t".into()));
        request
    }

    #[tokio::test]
    async fn an_answer_has_its_line_before_its_end() {
        let site = Site::new();
        let (_, finish) = site.model().await.generate(ask(3)).await.expect("begun").collect_all().await.expect("whole");
        // No flush: it is there.
        let text = std::fs::read_to_string(site.dir.path().join("usage.jsonl")).expect("there");
        let entry: Entry = serde_json::from_str(text.trim_end()).expect("one entry");
        assert_eq!((entry.request_id.as_deref(), entry.tenant.as_deref(), &*entry.model), (Some("r"), Some("t"), "m"));
        assert_eq!((entry.prompt_tokens, entry.completion_tokens), (Some(finish.usage.prompt_tokens), 3));
        assert_eq!((&*entry.operation, &*entry.ended), ("generate", "length"));
    }

    #[tokio::test]
    async fn choices_of_one_request_share_a_line_and_a_prompt_counts_once() {
        let site = Site::new();
        let (model, bill) = (site.model().await, Bill::new(site.ledger.clone()));
        let choices = bill
            .during(async {
                let mut other = ask(4);
                other.prompt = GenerateRequest::ask("something else").prompt;
                let mut begun = Vec::new();
                for request in [ask(3), ask(3), other] {
                    begun.push(model.generate(request).await.expect("begun"));
                }
                begun
            })
            .await;
        let (mut completion, mut prompts) = (0, Vec::new());
        for choice in choices {
            assert!(site.lines().await.is_empty());
            let (_, finish) = choice.collect_all().await.expect("whole");
            completion += finish.usage.completion_tokens;
            prompts.push(finish.usage.prompt_tokens);
        }
        let lines = site.lines().await;
        assert_eq!((lines.len(), lines[0].completion_tokens), (1, completion));
        assert_eq!(lines[0].prompt_tokens, Some(prompts[0] + prompts[2]));
    }

    #[tokio::test]
    async fn who_leaves_and_what_breaks_has_a_line_and_what_is_refused_has_none() {
        let site = Site::new();
        let model = site.model().await;
        let mut left = model.generate(ask(50)).await.expect("begun");
        let _ = left.next().await;
        drop(left);
        site.sim.faults().next(1, Fault::error_after(2));
        assert!(model.generate(ask(50)).await.expect("begun").collect_all().await.is_err());
        site.sim.faults().next(1, Fault::unavailable());
        assert!(model.generate(ask(50)).await.is_err());
        let lines = site.lines().await;
        let ended: Vec<_> = lines.iter().map(|line| (line.ended.as_str(), line.completion_tokens)).collect();
        assert_eq!((ended.len(), ended[0].0, ended[1].1), (2, "cancelled", 2), "{ended:?}");
        assert_eq!(lines[0].prompt_tokens, None);
    }
}
