//! A backend of your own: a model that answers with the words of the question, backwards.
//!
//! `cargo run -p llmo-examples --no-default-features --example own_backend`
//!
//! What a `Model` has to do is written at the trait; `llmo_core::conformance` checks it.

use std::sync::Arc;

use async_trait::async_trait;
use llmo_core::model::{Delta, Finish, Load, Prompt, Result, Usage};
use llmo_core::{Event, EventStream, FinishReason, GenerateRequest, Model, ModelError, ModelInfo};

struct Backwards {
    info: ModelInfo,
}

impl Backwards {
    fn new() -> Self {
        let mut info = ModelInfo::new("backwards", "own");
        info.context_length = 1024;
        info.capabilities.generate = true;
        info.capabilities.chat = true;
        Self { info }
    }
}

#[async_trait]
impl Model for Backwards {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        // Everything that is wrong with a request is found before the stream begins.
        request.validate()?;
        let text = match &request.prompt {
            Prompt::Chat(messages) => messages.last().map(|message| message.content.clone()).unwrap_or_default(),
            Prompt::Text(text) => text.clone(),
            _ => return Err(ModelError::unsupported(&self.info, "prompts of this kind")),
        };
        let words: Vec<String> = text.split_whitespace().rev().map(|word| format!("{word} ")).collect();
        let most = request.max_tokens.unwrap_or(self.info.context_length) as usize;
        let reason = if words.len() > most { FinishReason::Length } else { FinishReason::Stop };

        // Deltas, then exactly one finish. A real backend sends them through a bounded channel while it works.
        let usage = Usage::new(words.len() as u64, words.len().min(most) as u64);
        let deltas = words.into_iter().take(most).map(|word| Event::Delta(Delta::new(word, Vec::new())));
        let finish = Event::Finish(Finish::new(reason, usage));
        Ok(EventStream::new(futures::stream::iter(deltas.chain([finish]).map(Ok))))
    }

    fn load(&self) -> Load {
        Load::idle(1)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let model: Arc<dyn Model> = Arc::new(Backwards::new());
    let (answer, finish) = model.generate(GenerateRequest::ask("world hello")).await?.collect_all().await?;
    println!("{}({:?})", answer.text, finish.reason);
    Ok(())
}
