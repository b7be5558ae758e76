//! An answer while it is made, and what happens when nobody wants the rest.
//!
//! `cargo run -p llmo-examples --no-default-features --example stream_tokens`
//!
//! The model is the simulator, so that this runs anywhere; `Arc<dyn Model>` hides which one it is.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use llmo_backends::sim::{SimModel, SimOptions};
use llmo_core::model::SamplingParams;
use llmo_core::{Event, GenerateRequest, Model};

#[tokio::main]
async fn main() -> llmo_core::model::Result<()> {
    let mut options = SimOptions::default();
    options.decode_tokens_per_second = 20.0;
    let model: Arc<dyn Model> = Arc::new(SimModel::new(options));

    let request = GenerateRequest::ask("Count!")
        .max_tokens(30)
        .stop("t15")
        .sampling(SamplingParams::at_temperature(0.7))
        .deadline_after(Instant::now(), Duration::from_secs(10));
    let mut stream = model.generate(request).await?;
    while let Some(event) = stream.next().await {
        match event? {
            Event::Delta(delta) => {
                print!("{}", delta.text);
                // Standard output is buffered by line; tokens are to be seen at once.
                let _ = std::io::stdout().flush();
            }
            Event::Finish(finish) => println!("\n{:?}: {:?}", finish.reason, finish.usage),
            // Events of later versions.
            _ => {}
        }
    }

    // Dropping a stream cancels it: the slot is free again, and no token is generated for nobody.
    let unwanted = model.generate(GenerateRequest::ask("Count again!")).await?;
    println!("{} slots free of {}", model.load().slots_free, model.load().slots);
    drop(unwanted);
    println!("{} slots free of {}", model.load().slots_free, model.load().slots);
    Ok(())
}
