//! A conversation with any server that speaks OpenAI's protocol: llmo's gateway, llama-server, Ollama, OpenAI.
//!
//! `cargo run -p llmo-examples --no-default-features --example chat_over_http -- http://localhost:8000 smollm2-135m`
//!
//! The remote model is a `Model` like any other: it can be cached, wrapped and routed to.

use std::io::Write;

use futures::StreamExt;
use llmo_backends::remote::{RemoteModel, RemoteOptions};
use llmo_core::model::{Message, Prompt, SamplingParams};
use llmo_core::{Event, GenerateRequest, Model, ModelInfo};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "http://localhost".into());
    let name = arguments.next().unwrap_or_else(|| "smollm2-135m".into());

    // What is known of the model decides what is asked of it.
    let mut info = ModelInfo::new(name, "remote");
    info.capabilities.generate = true;
    info.capabilities.chat = true;
    let mut options = RemoteOptions::default();
    options.api_key = std::env::var("OPENAI_API_KEY").ok();
    // OpenAI itself refuses fields that are not its own, such as top_k.
    options.extensions = !url.contains("api.openai.com");
    let model = RemoteModel::new(info, &url, options)?;

    let mut conversation = vec![Message::system("You are a helpful assistant. Be brief.")];
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        conversation.push(Message::user(line));
        let request = GenerateRequest::new(Prompt::Chat(conversation.clone()))
            .max_tokens(200)
            .sampling(SamplingParams::at_temperature(0.7));
        let mut answer = String::new();
        let mut stream = model.generate(request).await?;
        while let Some(event) = stream.next().await {
            if let Event::Delta(delta) = event? {
                print!("{}", delta.text);
                std::io::stdout().flush()?;
                answer.push_str(&delta.text);
            }
        }
        println!();
        conversation.push(Message::assistant(answer));
    }
    Ok(())
}
