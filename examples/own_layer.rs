//! A layer of your own: a model around a model. This one tells how long the first token took.
//!
//! `cargo run -p llmo-examples --no-default-features --example own_layer`

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures::StreamExt;
use llmo_backends::sim::{SimModel, SimOptions};
use llmo_core::model::{KeepAlive, Load, Ranking, RerankRequest, Result, TokenId, TokenizeOptions};
use llmo_core::{EmbedRequest, Embeddings, EventStream, GenerateRequest, Model, ModelInfo};

struct Stopwatch(Arc<dyn Model>);

#[async_trait]
impl Model for Stopwatch {
    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        let asked = Instant::now();
        let mut first = true;
        // `map_stream` keeps what the stream knows about its origin. Nothing is spawned: dropping still cancels.
        Ok(self.0.generate(request).await?.map_stream(move |events| {
            events.inspect(move |_| {
                if std::mem::take(&mut first) {
                    eprintln!("first token after {:?}", asked.elapsed());
                }
            })
        }))
    }

    // Everything else is the inner model's.

    fn info(&self) -> &ModelInfo {
        self.0.info()
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        self.0.embed(request).await
    }

    async fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<TokenId>> {
        self.0.tokenize(text, options).await
    }

    async fn detokenize(&self, tokens: &[TokenId]) -> Result<String> {
        self.0.detokenize(tokens).await
    }

    async fn render(&self, request: GenerateRequest) -> Result<String> {
        self.0.render(request).await
    }

    async fn rerank(&self, request: RerankRequest) -> Result<Ranking> {
        self.0.rerank(request).await
    }

    async fn keep(&self, keep_alive: KeepAlive) -> Result<()> {
        self.0.keep(keep_alive).await
    }

    fn load(&self) -> Load {
        self.0.load()
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut options = SimOptions::default();
    options.prefill_tokens_per_second = 100.0;
    let model = Stopwatch(Arc::new(SimModel::new(options)));
    let (answer, _) = model.generate(GenerateRequest::ask("Hello?").max_tokens(5)).await?.collect_all().await?;
    println!("{}", answer.text);
    Ok(())
}
