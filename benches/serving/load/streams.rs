//! Clients that ask one after the other, all at once: tokens a second, time to the first token, time between tokens.

use std::io;
use std::time::Instant;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::Result;
use crate::client::{Completion, body};
use crate::flags::Flags;
use crate::{prompt, stats};

pub(crate) async fn run(flags: &Flags) -> Result<Value> {
    let (address, model) = (flags.address()?, flags.text("model", "default"));
    let (clients, requests) = (flags.number("clients", 32)?, flags.number("requests", 1)?);
    let (tokens, words) = (flags.number("tokens", 64)?, flags.number("words", 48)?);
    let (shared, seed) = (flags.number("shared", 0)?, flags.number("seed", 1)?);
    let temperature: f64 = flags.text("temperature", "0").parse()?;
    let prefix = if shared > 0 { prompt::text(shared, seed) } else { String::new() };

    let started = Instant::now();
    let client = |client: u64| {
        let (address, model, prefix) = (&address, &model, &prefix);
        async move {
            let mut done = Vec::new();
            for request in 0..requests {
                let own = prompt::text(words, (seed * 1000 + client) * 1000 + request + 1);
                let body = body(model, &format!("{prefix}{own}"), tokens, temperature);
                done.push(Completion::start(address, &body).await?.finish().await?);
            }
            io::Result::Ok(done)
        }
    };
    let results = join_all((0..clients).map(client)).await;
    let seconds = started.elapsed().as_secs_f64();

    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(completions) => done.extend(completions),
            Err(error) => errors.push(error.to_string()),
        }
    }
    let made: u64 = done.iter().map(|completion| completion.tokens).sum();
    let read: u64 = done.iter().map(|completion| completion.prompt_tokens).sum();
    // From the first to the last piece: what a reader of one stream sees.
    let decode = done.iter().filter_map(|completion| {
        let seconds = completion.pieces.last()?.duration_since(*completion.pieces.first()?).as_secs_f64();
        (seconds > 0.0).then(|| completion.tokens.saturating_sub(1) as f64 / seconds)
    });
    let mut decode: Vec<f64> = decode.collect();
    decode.sort_unstable_by(f64::total_cmp);
    Ok(json!({
        "tokens": made, "prompt_tokens": read, "seconds": seconds, "tokens_per_second": made as f64 / seconds,
        "stream_tokens_per_second": decode.get(decode.len() / 2),
        "ttft_ms": stats::summary(done.iter().filter_map(Completion::first_piece_after).collect()),
        "gap_ms": stats::summary(done.iter().flat_map(Completion::gaps).map(|(_, gap)| gap).collect()),
        "errors": errors,
    }))
}
