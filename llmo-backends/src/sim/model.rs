//! The simulator as a [`Model`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use llmo_core::model::{
    Capabilities, EmbedRequest, Embeddings, EventStream, GenerateRequest, Load, Model, ModelError, ModelInfo, Prompt,
    Quantisation, Result, Timings, TokenId, TokenizeOptions, ToolChoice, Usage,
};
use llmo_core::text::output::OutputAssembler;
use tokio::time::Instant;

use super::embedding;
use super::faults::{Fault, SimFaults};
use super::generation::Generation;
use super::options::SimOptions;
use super::plan::Plan;
use super::slots::Slots;
use super::vocabulary;

/// A simulated model. See the [module](super) for what it says and [`SimFaults`] for how to break it.
///
/// `logit_bias` and the penalties are checked and change nothing; sampling only chooses the stream.
#[derive(Debug)]
pub struct SimModel {
    info: ModelInfo,
    options: SimOptions,
    slots: Arc<Slots>,
    faults: SimFaults,
}

impl SimModel {
    /// A model that behaves like this.
    #[must_use]
    pub fn new(options: SimOptions) -> Self {
        let mut info = ModelInfo::new(options.id.clone(), "sim");
        info.family = "sim".into();
        info.context_length = options.context_length;
        info.vocab_size = vocabulary::VOCAB_SIZE;
        info.quantisation = Quantisation::Named("none".into());
        // Equal options give equal answers, which is all that a cache asks of a digest.
        info.digest = Some(format!("{:016x}", vocabulary::fnv1a(format!("{options:?}").into_bytes())));
        let mut capabilities = Capabilities::default();
        capabilities.generate = true;
        capabilities.chat = true;
        capabilities.embed = true;
        capabilities.tokenize = true;
        capabilities.logprobs = true;
        capabilities.token_ids = true;
        info.capabilities = capabilities;
        Self { info, slots: Arc::new(Slots::new(&options)), options, faults: SimFaults::default() }
    }

    /// The switchboard of its faults.
    #[must_use]
    pub fn faults(&self) -> SimFaults {
        self.faults.clone()
    }

    /// The fault of the request that begins now, after those that strike at once.
    fn begin(&self) -> Result<Option<Fault>> {
        self.faults.check_up()?;
        match self.faults.take() {
            Some(Fault::Refuse(error)) => Err(error),
            Some(Fault::Panic) => panic!("simulated panic"),
            fault => Ok(fault),
        }
    }

    fn dimensions(&self, request: &EmbedRequest) -> Result<usize> {
        let most = self.options.dimensions;
        match request.dimensions {
            Some(n) if n == 0 || n > most => {
                Err(ModelError::invalid("dimensions", format!("must be between 1 and {most}, got {n}")))
            }
            n => Ok(n.unwrap_or(most) as usize),
        }
    }

    /// The time that reading so many tokens takes, in a slot, with what goes wrong on the way.
    async fn work(&self, tokens: usize, deadline: Option<std::time::Instant>) -> Result<()> {
        let fault = self.begin()?;
        let _slot = self.slots.acquire(tokens as u64, deadline).await?;
        match fault {
            Some(Fault::ErrorAfter(_, error)) => return Err(error),
            Some(Fault::HangAfter(_)) => return Err(self.faults.died().await),
            Some(Fault::Delay(delay) | Fault::SlowTokens(delay)) => tokio::time::sleep(delay).await,
            _ => {}
        }
        tokio::select! {
            biased;
            error = self.faults.died() => Err(error),
            () = tokio::time::sleep(self.options.prefill_time(tokens)) => Ok(()),
        }
    }
}

#[async_trait]
impl Model for SimModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        let must_call = matches!(request.tool_choice, ToolChoice::Required | ToolChoice::Named(_));
        if request.constraint.is_some() || must_call {
            return Err(ModelError::unsupported(&self.info, "constraints on the output"));
        }
        if request.prompt_logprobs.is_some() {
            return Err(ModelError::unsupported(&self.info, "log probabilities of the prompt on the simulator"));
        }
        let plan = Plan::new(&request, &self.options, fastrand::u64(..))?;
        let aborts = self.options.abort_on.as_ref().is_some_and(|text| holds(&request.prompt, text));
        let fault = self.begin()?;
        let arrived = Instant::now();
        let slot = tokio::select! {
            slot = self.slots.acquire(plan.prompt_tokens, request.deadline) => slot?,
            error = self.faults.died() => return Err(error),
        };
        if aborts {
            eprintln!("simulated abort");
            std::process::abort();
        }
        let started = Instant::now();
        let prefill = self.options.prefill_time(plan.prompt_tokens as usize);
        let (delay, slow) = match fault {
            Some(Fault::Delay(delay)) => (delay, Duration::ZERO),
            Some(Fault::SlowTokens(slow)) => (slow, slow),
            _ => (Duration::ZERO, Duration::ZERO),
        };
        let token_time = self.options.token_time() + slow;
        let generation = Generation {
            plan,
            slot: Some(slot),
            text: self.options.text,
            output: OutputAssembler::new(request.stop),
            stop_tokens: request.stop_tokens,
            logprobs: request.logprobs,
            fault,
            faults: self.faults.clone(),
            deadline: request.deadline.map(Instant::from_std),
            token_time,
            first_due: started + prefill + delay + self.options.token_time(),
            timings: Timings::new(started - arrived, prefill, Duration::ZERO),
        };
        Ok(EventStream::new(generation.stream()))
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        let dimensions = self.dimensions(&request)?;
        let context = self.options.context_length as usize;
        if let Some(text) = request.input.iter().find(|text| text.len() > context && !request.truncate) {
            return Err(ModelError::ContextOverflow {
                prompt_tokens: text.len() as u64,
                max_tokens: 0,
                context_length: context as u64,
            });
        }
        let tokens: usize = request.input.iter().map(|text| text.len().min(context)).sum();
        let work = self.work(tokens, request.deadline);
        match request.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), work)
                .await
                .map_err(|_| ModelError::DeadlineExceeded { stage: "while embedding".into() })??,
            None => work.await?,
        }
        let vectors = request.input.iter().map(|text| {
            let text = &text[..text.floor_char_boundary(context)];
            let mut vector = embedding::embed(text, self.options.dimensions as usize);
            vector.truncate(dimensions);
            embedding::normalise(&mut vector);
            vector
        });
        Ok(Embeddings::new(vectors.collect(), Usage::new(tokens as u64, 0)))
    }

    async fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<TokenId>> {
        Ok(vocabulary::tokenize(text, options))
    }

    async fn detokenize(&self, tokens: &[TokenId]) -> Result<String> {
        let mut bytes = Vec::with_capacity(tokens.len());
        for &token in tokens {
            bytes.extend(vocabulary::bytes(token, self.options.text)?);
        }
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    fn load(&self) -> Load {
        self.slots.load()
    }
}

fn holds(prompt: &Prompt, text: &str) -> bool {
    match prompt {
        Prompt::Chat(messages) => messages.iter().any(|message| message.content.contains(text)),
        Prompt::Text(prompt) => prompt.contains(text),
        _ => false,
    }
}
