//! A model without weights: words that follow from the prompt, slots, and a count of what was generated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream;
use llmo_core::model::{
    Delta, EmbedRequest, Embeddings, Event, EventStream, Finish, FinishReason, GenerateRequest, Load, Model,
    ModelError, ModelInfo, Prompt, Result, TokenId, TokenLogprob, TokenizeOptions, TopLogprob, Usage,
};
use llmo_core::text::OutputAssembler;
use tokio::sync::Semaphore;

/// Tokens are Unicode characters; the answer is letters that depend on everything before.
pub(crate) struct ToyModel {
    info: ModelInfo,
    slots: Arc<Semaphore>,
    slot_count: u32,
    token_time: Duration,
    /// Streams started so far.
    pub(crate) started: AtomicUsize,
    running: Arc<AtomicU32>,
    /// Streams end with an error after so many tokens; 0: never.
    pub(crate) fail_after: AtomicU32,
    /// The next stream panics after so many tokens; 0: it doesn't.
    pub(crate) panic_after: AtomicU32,
}

const VOCABULARY: u32 = 0x11_0000;

impl ToyModel {
    pub(crate) fn new(slots: u32, token_time: Duration) -> Self {
        let mut info = ModelInfo::new("toy", "toy");
        info.context_length = 512;
        info.vocab_size = VOCABULARY;
        let can = &mut info.capabilities;
        (can.generate, can.chat, can.embed, can.tokenize, can.logprobs, can.token_ids) =
            (true, true, true, true, true, true);
        Self {
            info,
            slots: Arc::new(Semaphore::new(slots as usize)),
            slot_count: slots,
            token_time,
            started: AtomicUsize::new(0),
            running: Arc::default(),
            fail_after: AtomicU32::new(0),
            panic_after: AtomicU32::new(0),
        }
    }

    /// Takes every other ability away.
    pub(crate) fn only_generates(&mut self) {
        let can = &mut self.info.capabilities;
        (can.embed, can.tokenize, can.logprobs) = (false, false, false);
    }

    /// Streams that have not ended and were not dropped.
    pub(crate) fn running(&self) -> u32 {
        self.running.load(Ordering::SeqCst)
    }
}

struct Running(Arc<AtomicU32>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tokens_of(prompt: &Prompt) -> Result<Vec<TokenId>> {
    Ok(match prompt {
        Prompt::Text(text) => text.chars().map(u32::from).collect(),
        Prompt::Chat(messages) => messages.iter().flat_map(|m| m.content.chars().map(u32::from)).collect(),
        Prompt::Tokens(tokens) => tokens.clone(),
        _ => return Err(ModelError::invalid("prompt", "unknown kind")),
    })
}

/// The next token after these, for this seed.
fn next_token(before: &[TokenId], seed: u64) -> TokenId {
    let hash = before
        .iter()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, token| (hash ^ u64::from(*token)).wrapping_mul(0x0100_0000_01b3));
    ['a', 'b', 'c', 'd', ' ', 'é', '🦀'][(hash >> 32) as usize % 7].into()
}

fn text_of(token: TokenId) -> Result<String> {
    let unknown = || ModelError::invalid("prompt", format!("{token} is not a token"));
    char::from_u32(token).map(String::from).ok_or_else(unknown)
}

#[async_trait]
impl Model for ToyModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        request.validate()?;
        let mut tokens = tokens_of(&request.prompt)?;
        tokens.iter().try_for_each(|token| text_of(*token).map(drop))?;
        let (prompt, context) = (tokens.len() as u64, u64::from(self.info.context_length));
        let wanted = u64::from(request.max_tokens.unwrap_or(1));
        if prompt + wanted > context {
            return Err(ModelError::ContextOverflow {
                prompt_tokens: prompt,
                max_tokens: wanted,
                context_length: context,
            });
        }
        if request.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(ModelError::DeadlineExceeded { stage: "in the queue".into() });
        }
        let permit = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| ModelError::Shutdown)?;
        self.started.fetch_add(1, Ordering::SeqCst);
        self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(Arc::clone(&self.running));
        let limit = request.max_tokens.map_or(context - prompt, u64::from);
        let seed = if request.sampling.temperature == 0.0 { 0 } else { request.sampling.seed.unwrap_or(1) };
        let fail_after = u64::from(self.fail_after.load(Ordering::SeqCst));
        let panic_after = u64::from(self.panic_after.swap(0, Ordering::SeqCst));
        let (time, deadline) = (self.token_time, request.deadline);
        let mut output = OutputAssembler::new(request.stop.clone());
        let mut made = 0u64;
        let mut ended: Option<(FinishReason, Option<String>)> = None;
        let events = async_stream(move || {
            let usage = Usage::new(prompt, made);
            if let Some((reason, stop)) = ended.take() {
                let mut finish = Finish::new(reason, usage);
                finish.stop = stop;
                return Step::Last(Ok(Event::Finish(finish)));
            }
            if fail_after > 0 && made == fail_after {
                return Step::Last(Err(ModelError::Upstream { message: "broken".into(), started: true }));
            }
            assert!(panic_after == 0 || made < panic_after, "the toy breaks");
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Step::Last(Err(ModelError::DeadlineExceeded { stage: "while generating".into() }));
            }
            if made == limit {
                let rest = output.finish();
                let stop = output.stopped().map(str::to_owned);
                let reason = if stop.is_some() { FinishReason::Stop } else { FinishReason::Length };
                ended = Some((reason, stop));
                return Step::More(Ok(Event::Delta(Delta::new(rest, Vec::new()))));
            }
            let token = next_token(&tokens, seed);
            tokens.push(token);
            made += 1;
            let text = text_of(token).unwrap_or_default();
            let step = output.push(text.as_bytes());
            let mut delta = Delta::new(step.text, vec![token]);
            if let Some(top) = request.logprobs {
                let top =
                    (0..top).map(|i| TopLogprob { token: token + i, bytes: Vec::new(), logprob: -0.1 - i as f32 });
                let entry = TokenLogprob { token, bytes: text.into_bytes(), logprob: -0.1, top: top.collect() };
                delta.logprobs.push(entry);
            }
            if let Some(stop) = step.stopped {
                ended = Some((FinishReason::Stop, Some(stop)));
            }
            Step::More(Ok(Event::Delta(delta)))
        });
        let state = (Some((events, permit, running)), time);
        Ok(EventStream::new(stream::unfold(state, |(state, time)| async move {
            let (mut events, permit, running) = state?;
            tokio::time::sleep(time).await;
            match events() {
                Step::More(event) => Some((event, (Some((events, permit, running)), time))),
                // The slot is free before the last event is seen.
                Step::Last(event) => Some((event, (None, time))),
            }
        })))
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        let dimensions = request.dimensions.unwrap_or(26) as usize;
        let vectors = request.input.iter().map(|text| {
            let mut vector = vec![0.01f32; 26];
            text.to_lowercase()
                .bytes()
                .filter(u8::is_ascii_lowercase)
                .for_each(|b| vector[usize::from(b - b'a')] += 1.0);
            vector.truncate(dimensions);
            let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
            vector.iter().map(|v| v / length).collect()
        });
        Ok(Embeddings::new(vectors.collect(), Usage::new(request.input.len() as u64, 0)))
    }

    async fn tokenize(&self, text: &str, _: TokenizeOptions) -> Result<Vec<TokenId>> {
        Ok(text.chars().map(u32::from).collect())
    }

    async fn detokenize(&self, tokens: &[TokenId]) -> Result<String> {
        tokens.iter().map(|token| text_of(*token)).collect()
    }

    fn load(&self) -> Load {
        let mut load = Load::idle(self.slot_count);
        load.slots_free = self.slot_count - self.running().min(self.slot_count);
        load
    }
}

enum Step {
    More(Result<Event>),
    Last(Result<Event>),
}

/// Names the closure's type.
fn async_stream<F: FnMut() -> Step>(events: F) -> F {
    events
}
