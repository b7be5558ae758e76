//! How fast is this machine with the llama.cpp backend, and with which options?
//!
//! ```text
//! cargo run --release -p llmo-backends --example llama_cpp_speed -- MODEL.gguf [THREADS]
//! ```
//!
//! For each way to keep the KV cache: tokens a second of reading a prompt of 512 tokens, of one stream, and of 8 and 32
//! streams together; and the longest gap between two tokens of 8 streams while a long prompt is read.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use llmo_backends::llama_cpp::{KvType, LlamaCpp, LlamaCppOptions};
use llmo_core::model::{Event, Prompt};
use llmo_core::{GenerateRequest, Model, ModelError};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("the path of a GGUF file is missing")?;
    let threads = arguments.next().map(|text| text.parse()).transpose()?;
    println!("cache, attention     prefill   1 stream  8 streams 32 streams   idle gap  gap while reading");
    for (kv_type, flash_attention) in [(KvType::F16, true), (KvType::F16, false), (KvType::Q8_0, true)] {
        let mut options = LlamaCppOptions::default();
        (options.kv_type, options.flash_attention, options.threads) = (Some(kv_type), Some(flash_attention), threads);
        (options.slots, options.context_length) = (32, Some(1024));
        let model = LlamaCpp::load(Path::new(&path), options)?;
        let prefill = prefill(&model).await?;
        let one = streams(&model, 1, 64).await?;
        let eight = streams(&model, 8, 48).await?;
        let many = streams(&model, 32, 48).await?;
        let (idle, reading) = gaps(&model).await?;
        let name = format!("{kv_type:?}, {}", if flash_attention { "flash" } else { "plain" });
        println!("{name:18} {prefill:9.0} {one:10.1} {eight:10.1} {many:10.1} {idle:8.0} ms {reading:8.0} ms");
    }
    Ok(())
}

/// A prompt of this many tokens that no other number shares a beginning with, and that never ends by itself.
fn request(number: u32, prompt: u32, tokens: u32) -> GenerateRequest {
    let prompt = (0..prompt).map(|i| 1000 + (number * 7919 + i * 31) % 40_000).collect();
    let mut request = GenerateRequest::new(Prompt::Tokens(prompt)).max_tokens(tokens);
    request.sampling.logit_bias = vec![(0, -100.0), (2, -100.0)];
    request
}

async fn prefill(model: &LlamaCpp) -> Result<f64, ModelError> {
    let mut best = Duration::MAX;
    for number in 0..3 {
        let (_, finish) = model.generate(request(100 + number, 512, 1)).await?.collect_all().await?;
        best = best.min(finish.timings.prefill);
    }
    Ok(512.0 / best.as_secs_f64())
}

async fn streams(model: &LlamaCpp, count: u32, tokens: u32) -> Result<f64, ModelError> {
    let start = Instant::now();
    let all = (0..count).map(|number| async move {
        model.generate(request(number, 8, tokens)).await?.collect_all().await.map(|(delta, _)| delta.tokens.len())
    });
    let made: usize = join_all(all).await.into_iter().sum::<Result<usize, ModelError>>()?;
    Ok(made as f64 / start.elapsed().as_secs_f64())
}

/// 99th percentile of the gaps between tokens of eight streams in milliseconds: alone, and while 800 tokens are read.
async fn gaps(model: &LlamaCpp) -> Result<(f64, f64), ModelError> {
    let watch = |number: u32| async move {
        let mut stream = model.generate(request(number, 8, 48)).await?;
        let (mut last, mut gaps) = (None, Vec::new());
        while let Some(event) = stream.next().await {
            if let Event::Delta(_) = event? {
                let now = Instant::now();
                gaps.extend(last.map(|last| now.duration_since(last)));
                last = Some(now);
            }
        }
        Ok::<_, ModelError>(gaps)
    };
    let percentile = |gaps: Vec<Result<Vec<Duration>, ModelError>>| {
        let mut gaps: Vec<Duration> = gaps.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        gaps.sort_unstable();
        let at = gaps.len() * 99 / 100;
        Ok::<_, ModelError>(gaps.get(at).map_or(0.0, |gap| gap.as_secs_f64() * 1e3))
    };
    let idle = percentile(join_all((200..208).map(watch)).await)?;
    let reader = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        model.generate(request(300, 800, 1)).await?.collect_all().await
    };
    let (gaps, read) = tokio::join!(join_all((210..218).map(watch)), reader);
    read?;
    Ok((idle, percentile(gaps)?))
}
