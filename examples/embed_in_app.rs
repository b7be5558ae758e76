//! A language model inside an application: no service, no HTTP.
//!
//! `cargo run --release -p llmo-examples --example embed_in_app -- "Why is the sky blue?"`

use std::sync::Arc;

use llmo_backends::llama_cpp::{LlamaCpp, LlamaCppOptions};
use llmo_config::StoreConfig;
use llmo_core::{GenerateRequest, Model};
use llmo_store::catalogue::Catalogue;
use llmo_store::local::LocalStore;
use llmo_store::pull::{PullOptions, Puller, Silent};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let question = std::env::args().nth(1).unwrap_or_else(|| "What is the capital of France?".into());

    // The weights: where `llmo pull` keeps them. Fetched (98 MB) if they are not there yet.
    let store = LocalStore::open(StoreConfig::default().directory()).await?;
    let puller = Puller::new(store, Arc::new(Catalogue::builtin()?), PullOptions::default());
    let files = puller.ensure("smollm2-135m", Arc::new(Silent)).await?;

    // Loading blocks, so it gets a thread of its own.
    let load = move || LlamaCpp::load(&files.weights, LlamaCppOptions::default());
    let model = tokio::task::spawn_blocking(load).await??;

    let request = GenerateRequest::ask(question).max_tokens(100);
    let (answer, finish) = model.generate(request).await?.collect_all().await?;
    println!("{}", answer.text);
    eprintln!("{} tokens in {:.1} s", finish.usage.completion_tokens, finish.timings.decode.as_secs_f32());
    Ok(())
}
