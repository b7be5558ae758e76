//! Search by meaning: MiniLM turns texts into vectors, the nearest one wins.
//!
//! `cargo run --release -p llmo-examples --example search -- "something to eat"`

use std::sync::Arc;

use llmo_backends::candle::bert::BertEmbedder;
use llmo_config::StoreConfig;
use llmo_core::{EmbedRequest, Model};
use llmo_store::catalogue::Catalogue;
use llmo_store::local::LocalStore;
use llmo_store::pull::{PullOptions, Puller, Silent};

const TEXTS: [&str; 5] = [
    "The train to Warsaw leaves at noon.",
    "She baked a loaf of bread this morning.",
    "Interest rates rose for the third time this year.",
    "A kitten slept on the warm keyboard.",
    "The match ended in a draw after extra time.",
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let query = std::env::args().nth(1).unwrap_or_else(|| "something to eat".into());

    // Where `llmo pull` keeps weights. Fetched (90 MB) if they are not there yet.
    let store = LocalStore::open(StoreConfig::default().directory()).await?;
    let puller = Puller::new(store, Arc::new(Catalogue::builtin()?), PullOptions::default());
    let files = puller.ensure("minilm-l6", Arc::new(Silent)).await?;
    let model = tokio::task::spawn_blocking(move || BertEmbedder::load(&files.dir, "minilm-l6")).await??;

    let texts = model.embed(EmbedRequest::new(TEXTS)).await?.vectors;
    let query = model.embed(EmbedRequest::new([query])).await?.vectors.remove(0);

    // Vectors are of unit length, so the cosine of two is their dot product.
    let cosine = |text: &[f32]| text.iter().zip(&query).map(|(a, b)| a * b).sum::<f32>();
    let mut found: Vec<_> = TEXTS.iter().zip(texts.iter().map(|text| cosine(text))).collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (text, cosine) in found {
        println!("{cosine:.3}  {text}");
    }
    Ok(())
}
