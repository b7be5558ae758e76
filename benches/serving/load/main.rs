//! Load on a server with OpenAI's completions endpoint, and what its streams look like from outside.
//!
//! ```text
//! serving_load streams   HOST:PORT --clients 32 --requests 1 --tokens 64 --words 48 [--shared 600] [--seed 1]
//! serving_load prefill   HOST:PORT --clients 8 --words 3200 [--idle 3]
//! serving_load churn     HOST:PORT --clients 16 --requests 2000
//! serving_load bandwidth --bytes 98362432 --threads 2
//! ```
//!
//! Prints one JSON object. One thread does everything, so that the load costs the server little of a small machine.

mod bandwidth;
mod churn;
mod client;
mod flags;
mod http;
mod prefill;
mod prompt;
mod stats;
mod streams;

use flags::Flags;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let scenario = arguments.next().ok_or("which? streams, prefill, churn or bandwidth")?;
    let flags = Flags::parse(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = match scenario.as_str() {
        "streams" => runtime.block_on(streams::run(&flags))?,
        "prefill" => runtime.block_on(prefill::run(&flags))?,
        "churn" => runtime.block_on(churn::run(&flags))?,
        "bandwidth" => bandwidth::run(&flags)?,
        other => return Err(format!("{other}? one of streams, prefill, churn, bandwidth").into()),
    };
    println!("{report}");
    Ok(())
}
