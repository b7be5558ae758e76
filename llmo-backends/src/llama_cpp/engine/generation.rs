//! A request that has a slot.

use std::time::Instant;

use llmo_core::ModelError;
use llmo_core::model::{
    Delta, Event, Finish, FinishReason, GenerateRequest, Timings, TokenId, TokenLogprob, TopLogprob, Usage,
};
use llmo_core::text::OutputAssembler;

use super::job::{Job, Output};
use crate::llama_cpp::vocabulary::TokenTable;
use crate::logprobs::logprobs;
use crate::sampler::{Sampler, argmax};

/// A request that has a slot: first its prompt is read, then it generates.
pub(super) struct Generation {
    request: GenerateRequest,
    pub(super) prompt: Vec<TokenId>,
    max_tokens: u32,
    output: Output,
    sampler: Sampler,
    text: OutputAssembler,
    /// The token that was drawn last and has not been run. `None` while the prompt is being read.
    pub(super) next: Option<TokenId>,
    generated: u32,
    cached: u32,
    queued_at: Instant,
    started_at: Instant,
    prompt_read_at: Option<Instant>,
    /// When the reader was last seen to keep up.
    pub(super) reader_kept_up_at: Instant,
}

/// What a token led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// There will be more.
    Continues,
    /// The last event was sent, or nobody listens.
    Ended,
}

impl Generation {
    /// Gives a job a slot whose KV cache already holds `cached` tokens of its prompt, and tells the caller.
    ///
    /// `None` if the caller left or the request was refused.
    pub(super) fn start(job: Job, cached: u32, table: &TokenTable, now: Instant) -> Option<Self> {
        let Job { request, prompt, max_tokens, queued_at, started, output } = job;
        let sampler = match Sampler::new(&request.sampling, table.len()) {
            Ok(mut sampler) => {
                sampler.prime(&prompt);
                sampler
            }
            Err(error) => {
                let _ = started.send(Err(error));
                return None;
            }
        };
        started.send(Ok(())).ok()?;
        Some(Self {
            text: OutputAssembler::new(request.stop.clone()),
            sampler,
            request,
            prompt,
            max_tokens,
            output,
            next: None,
            generated: 0,
            cached,
            queued_at,
            started_at: now,
            prompt_read_at: None,
            reader_kept_up_at: now,
        })
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.request.deadline
    }

    pub(super) fn started_at(&self) -> Instant {
        self.started_at
    }

    /// Does the caller still want it?
    pub(super) fn is_wanted(&self) -> bool {
        self.output.is_wanted()
    }

    /// Is there room for the events of one step?
    pub(super) fn has_room(&self) -> bool {
        self.output.has_room()
    }

    /// Ends it with an error.
    pub(super) fn fail(self, error: ModelError) {
        self.output.fail(error);
    }

    /// Draws the next token from the logits behind the last one and sends what follows from it.
    ///
    /// # Errors
    /// The model gave no finite logit.
    pub(super) fn advance(
        &mut self,
        logits: &[f32],
        table: &TokenTable,
        scratch: &mut Vec<f32>,
    ) -> Result<Progress, ModelError> {
        let now = Instant::now();
        self.prompt_read_at.get_or_insert(now);
        let token = self.draw(logits, scratch);
        if !logits.get(token as usize).is_some_and(|logit| logit.is_finite()) {
            return Err(ModelError::Internal("the model gave no finite logits".into()));
        }
        if table.ends_generation(token) {
            let rest = self.text.finish();
            let sent = rest.is_empty() || self.output.send(Event::Delta(Delta::new(rest, Vec::new())));
            return Ok(if sent { self.finish(FinishReason::Stop, now) } else { Progress::Ended });
        }
        self.generated += 1;
        self.next = Some(token);
        let step = self.text.push(table.bytes(token));
        let mut delta = Delta::new(step.text, vec![token]);
        if let Some(top) = self.request.logprobs {
            delta.logprobs.push(report(logits, token, top, table));
        }
        let is_last = step.stopped.is_none() && self.generated >= self.max_tokens;
        if is_last {
            delta.text.push_str(&self.text.finish());
        }
        if !self.output.send(Event::Delta(delta)) {
            return Ok(Progress::Ended);
        }
        match (self.text.stopped().is_some(), is_last) {
            (true, _) => Ok(self.finish(FinishReason::Stop, now)),
            (false, true) => Ok(self.finish(FinishReason::Length, now)),
            (false, false) => Ok(Progress::Continues),
        }
    }

    fn draw(&mut self, logits: &[f32], scratch: &mut Vec<f32>) -> TokenId {
        let is_plain_greedy = self.request.sampling.temperature == 0.0 && !self.sampler.changes_logits();
        let token = if is_plain_greedy {
            argmax(logits)
        } else {
            // llama.cpp's logits can't be changed in place; copying 49 152 of them takes 10 µs of a step's 10 000.
            scratch.clear();
            scratch.extend_from_slice(logits);
            self.sampler.sample(scratch)
        };
        self.sampler.accept(token);
        token
    }

    fn finish(&self, reason: FinishReason, now: Instant) -> Progress {
        let mut usage = Usage::new(self.prompt.len() as u64, u64::from(self.generated));
        usage.cached_tokens = u64::from(self.cached);
        let mut finish = Finish::new(reason, usage);
        finish.stop = self.text.stopped().map(str::to_owned);
        let read_at = self.prompt_read_at.unwrap_or(now);
        finish.timings = Timings::new(
            self.started_at.saturating_duration_since(self.queued_at),
            read_at.saturating_duration_since(self.started_at),
            now.saturating_duration_since(read_at),
        );
        self.output.send(Event::Finish(finish));
        Progress::Ended
    }
}

fn report(logits: &[f32], token: TokenId, top: u32, table: &TokenTable) -> TokenLogprob {
    let found = logprobs(logits, token, top as usize);
    let bytes = |token| table.bytes(token).to_vec();
    let alternative = |(token, logprob)| TopLogprob { token, bytes: bytes(token), logprob };
    TokenLogprob {
        token,
        bytes: bytes(token),
        logprob: found.logprob,
        top: found.top.into_iter().map(alternative).collect(),
    }
}
