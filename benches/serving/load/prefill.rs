//! What running streams notice of a long prompt.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use serde_json::{Value, json};

use crate::Result;
use crate::client::{Completion, body};
use crate::flags::Flags;
use crate::{prompt, stats};

/// Tokens of each running stream: more than it makes before the long prompt is read.
const ENDLESS: u64 = 2000;

pub(crate) async fn run(flags: &Flags) -> Result<Value> {
    let (address, model) = (flags.address()?, flags.text("model", "default"));
    let clients = flags.number("clients", 8)?;
    let (words, seed) = (flags.number("words", 3200)?, flags.number("seed", 1)?);
    let idle = Duration::from_secs(flags.number("idle", 3)?);

    let running = Cell::new(0);
    let over = Cell::new(false);
    let stream = |client: u64| {
        let (address, model, running, over) = (&address, &model, &running, &over);
        async move {
            let prompt = prompt::text(24, seed * 1000 + client);
            let mut completion = Completion::start(address, &body(model, &prompt, ENDLESS, 0.0)).await?;
            let mut counted = false;
            while !over.get() && completion.read().await? {
                if !counted && !completion.pieces.is_empty() {
                    running.set(running.get() + 1);
                    counted = true;
                }
            }
            io::Result::Ok(completion)
        }
    };
    let reader = async {
        while running.get() < clients {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let quiet_from = Instant::now();
        tokio::time::sleep(idle).await;
        let long = prompt::text(words, seed * 1000 + 999);
        let completion = Completion::start(&address, &body(&model, &long, 1, 0.0)).await?.finish().await?;
        let read_at = completion.pieces.first().copied().unwrap_or_else(Instant::now);
        over.set(true);
        io::Result::Ok((quiet_from, completion, read_at))
    };
    let limit = Duration::from_secs(flags.number("limit", 240)?);
    let both = join(join_all((0..clients).map(stream)), reader);
    let (streams, reader) = tokio::time::timeout(limit, both).await.map_err(|_| "the streams never ran all at once")?;
    let (quiet_from, long, read_at) = reader?;

    let (mut calm, mut reading, mut ended) = (Vec::new(), Vec::new(), 0);
    for stream in streams {
        let stream = stream?;
        ended += u64::from(stream.ended && stream.pieces.last().is_some_and(|&last| last < read_at));
        for (at, gap) in stream.gaps() {
            if at > quiet_from && at <= long.sent {
                calm.push(gap);
            } else if at > long.sent && at <= read_at {
                reading.push(gap);
            }
        }
    }
    Ok(json!({
        "prompt_tokens": long.prompt_tokens, "prefill_seconds": read_at.duration_since(long.sent).as_secs_f64(),
        "idle_gap_ms": stats::summary(calm), "reading_gap_ms": stats::summary(reading), "ended_early": ended,
    }))
}
