//! `llmo run`: one prompt, one answer, as it comes.

use std::io::{IsTerminal, Read};

use futures::StreamExt;
use llmo_config::Config;
use llmo_core::model::{Finish, Message, Prompt};
use llmo_core::{Event, EventStream, GenerateRequest};
use serde_json::json;

use crate::cli::{RunArgs, Sampling};
use crate::connect::connect;
use crate::error::{CliError, Result};
use crate::output;

pub(crate) async fn run(arguments: &RunArgs, config: &Config) -> Result {
    let prompt = prompt(arguments)?;
    let model = connect(config, arguments.model.as_deref()).await?;
    let prompt = if arguments.raw { Prompt::Text(prompt) } else { Prompt::Chat(vec![Message::user(prompt)]) };
    let stream = model.generate(request(prompt, &arguments.sampling)).await?;
    if arguments.json {
        let (answer, finish) = stream.collect_all().await?;
        let (usage, timings) = (finish.usage, finish.timings);
        say!("{}", json!({"response": answer.text, "finish": finish.reason, "usage": usage, "timings": timings}));
        return Ok(());
    }
    print_stream(stream).await?;
    Ok(())
}

/// A request with the command line's sampling flags.
pub(crate) fn request(prompt: Prompt, sampling: &Sampling) -> GenerateRequest {
    let mut request = GenerateRequest::new(prompt);
    request.max_tokens = sampling.max_tokens;
    request.sampling.temperature = sampling.temperature;
    request.sampling.seed = sampling.seed;
    request
}

/// Prints deltas as they come, then a line end. Returns the whole text and the finish.
pub(crate) async fn print_stream(mut stream: EventStream) -> Result<(String, Option<Finish>)> {
    let (mut text, mut finish) = (String::new(), None);
    while let Some(event) = stream.next().await {
        match event? {
            Event::Delta(delta) => {
                output::raw(delta.text.as_bytes());
                text.push_str(&delta.text);
            }
            Event::Finish(end) => finish = Some(end),
            _ => {}
        }
    }
    output::raw(b"\n");
    Ok((text, finish))
}

fn prompt(arguments: &RunArgs) -> Result<String> {
    let words = arguments.prompt.join(" ");
    if !words.is_empty() && words != "-" {
        return Ok(words);
    }
    let mut input = std::io::stdin();
    if words.is_empty() && input.is_terminal() {
        return Err(CliError::Message("no prompt; try: llmo run \"Why is the sky blue?\" (or llmo chat)".into()));
    }
    let mut text = String::new();
    input.read_to_string(&mut text).map_err(CliError::io("cannot read the prompt from standard input"))?;
    if text.trim().is_empty() {
        return Err(CliError::Message("the prompt on standard input is empty".into()));
    }
    Ok(text)
}
