//! Load on a gateway, and the canned upstream behind it.
//!
//! ```text
//! gateway_load upstream --port 9101                                   a plain hyper server with OpenAI's chat endpoint
//! gateway_load bare --port 9100 --upstream 9101             a proxy that does nothing: the limit of one on hyper
//! gateway_load saturate HOST:PORT --connections 64 --seconds 5        one request after the other on each connection
//! gateway_load paced    HOST:PORT --rate 2000 --seconds 5             requests at fixed times, whatever the answers do
//! gateway_load streams  HOST:PORT --count 1000 --tokens 60            streams at 20 tokens a second, how late each token is
//! ```
//!
//! Prints one JSON object. One thread does everything. Latencies of `paced` count from the moment when a request should have
//! been sent, so that a gateway that stalls can't hide the requests that waited.

mod bare;
mod closed;
mod connection;
mod flags;
mod paced;
mod stats;
mod streams;
mod upstream;

use flags::Flags;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The model that everybody knows.
const MODEL: &str = "canned";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let scenario = arguments.next().ok_or("which? upstream, bare, saturate, paced or streams")?;
    let flags = Flags::parse(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let report = local.block_on(&runtime, async {
        match scenario.as_str() {
            "upstream" => upstream::run(&flags).await,
            "bare" => bare::run(&flags).await,
            "saturate" => closed::run(&flags).await,
            "paced" => paced::run(&flags).await,
            "streams" => streams::run(&flags).await,
            other => Err(format!("{other}? one of upstream, bare, saturate, paced, streams").into()),
        }
    })?;
    println!("{report}");
    Ok(())
}
