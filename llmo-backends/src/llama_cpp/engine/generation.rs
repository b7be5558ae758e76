//! A request that has a slot.

use std::sync::Arc;
use std::time::Instant;

use llmo_core::ModelError;
use llmo_core::model::{
    Delta, Event, Finish, FinishReason, GenerateRequest, PromptToken, Timings, TokenId, TokenLogprob, TopLogprob, Usage,
};
use llmo_core::text::OutputAssembler;

use super::draft::HitRate;
use super::job::{Held, Job, Output};
use super::prompt_report::PromptReport;
use crate::constraint::Matcher;
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
    /// What the output is held to.
    matcher: Option<Matcher>,
    /// Control tokens that are part of the text.
    shown: Vec<(TokenId, String)>,
    /// The token that was drawn last and has not been run. `None` while the prompt is being read.
    pub(super) next: Option<TokenId>,
    /// How well its tokens are guessed.
    pub(super) hit_rate: HitRate,
    /// What is told of the prompt, if that was asked for, until it is told with the first delta.
    prompt_report: Option<PromptReport>,
    generated: u32,
    /// Tokens of the prompt that were not read but reused.
    pub(super) cached: u32,
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
    pub(super) fn start(job: Job, cached: u32, table: &Arc<TokenTable>, now: Instant) -> Option<Self> {
        let Job { request, prompt, held: Held { matcher, shown }, max_tokens, queued_at, started, output } = job;
        let resumed = request.output_prefix.len();
        let sampler = match Sampler::new(&request.sampling, table.len(), table) {
            Ok(mut sampler) => {
                sampler.prime(&prompt, resumed);
                sampler
            }
            Err(error) => {
                let _ = started.send(Err(error));
                return None;
            }
        };
        started.send(Ok(())).ok()?;
        let mut text = OutputAssembler::new(request.stop.clone());
        // The caller has what this gives; what it holds back comes with later tokens.
        text.resume(prompt[prompt.len().saturating_sub(resumed)..].iter().map(|&token| bytes(token, &shown, table)));
        let prompt_report = PromptReport::new(request.prompt_logprobs, prompt.first(), table);
        Some(Self {
            text,
            prompt_report,
            sampler,
            matcher,
            shown,
            generated: resumed as u32,
            request,
            prompt,
            max_tokens,
            output,
            next: None,
            hit_rate: HitRate::default(),
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

    /// Tokens that were generated so far.
    pub(super) fn generated(&self) -> u32 {
        self.generated
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

    /// Most tokens worth guessing behind the next one: the output has room for them, and so has the channel.
    pub(super) fn room_for_guesses(&self) -> usize {
        let of_output = self.max_tokens.saturating_sub(self.generated).saturating_sub(1);
        // A step may send a delta, the rest of the text and the finish without guesses.
        (of_output as usize).min(self.output.room().saturating_sub(3))
    }

    /// Ends it with an error.
    pub(super) fn fail(self, error: ModelError) {
        self.output.fail(error);
    }

    /// Are the logits behind every token of the prompt wanted?
    pub(super) fn reports_prompt(&self) -> bool {
        self.prompt_report.is_some()
    }

    /// Notes how likely the prompt's token at `place` was after those before it.
    pub(super) fn note_prompt(&mut self, place: usize, logits: &[f32], table: &TokenTable) {
        if let (Some(report), Some(&token)) = (&mut self.prompt_report, self.prompt.get(place)) {
            report.note(token, logits, table);
        }
    }

    /// Draws the next token from the logits behind the last one and sends what follows from it.
    ///
    /// # Errors
    /// The model gave no finite logit, or the output can't be held to its grammar any further.
    pub(super) fn advance(
        &mut self,
        logits: &[f32],
        table: &TokenTable,
        scratch: &mut Vec<f32>,
    ) -> Result<Progress, ModelError> {
        let now = Instant::now();
        self.prompt_read_at.get_or_insert(now);
        let prompt = self.prompt_report.take().map(PromptReport::into_tokens).unwrap_or_default();
        if self.max_tokens == 0 {
            self.output.send(Event::Delta(about(prompt)));
            return Ok(self.finish(FinishReason::Length, now));
        }
        let token = self.draw(logits, table, scratch)?;
        if !logits.get(token as usize).is_some_and(|logit| logit.is_finite()) {
            return Err(ModelError::Internal("the model gave no finite logits".into()));
        }
        if table.ends_generation(token) || self.request.stop_tokens.contains(&token) {
            let mut rest = about(prompt);
            rest.text = self.text.finish();
            let sent = rest.is_empty() || self.output.send(Event::Delta(rest));
            return Ok(if sent { self.finish(FinishReason::Stop, now) } else { Progress::Ended });
        }
        self.generated += 1;
        self.next = Some(token);
        let step = self.text.push(bytes(token, &self.shown, table));
        let mut delta = Delta::new(step.text, vec![token]);
        delta.prompt = prompt;
        delta.mirostat_mu = self.sampler.mirostat_mu();
        if let Some(top) = self.request.logprobs {
            delta.logprobs.push(report(logits, token, top, table));
        }
        let is_complete = self.matcher.as_ref().is_some_and(Matcher::must_end);
        let is_last = step.stopped.is_none() && (is_complete || self.generated >= self.max_tokens);
        if is_last {
            delta.text.push_str(&self.text.finish());
        }
        if !self.output.send(Event::Delta(delta)) {
            return Ok(Progress::Ended);
        }
        match (self.text.stopped().is_some() || is_complete, is_last) {
            (true, _) => Ok(self.finish(FinishReason::Stop, now)),
            (false, true) => Ok(self.finish(FinishReason::Length, now)),
            (false, false) => Ok(Progress::Continues),
        }
    }

    fn draw(&mut self, logits: &[f32], table: &TokenTable, scratch: &mut Vec<f32>) -> Result<TokenId, ModelError> {
        let is_plain_greedy = self.request.sampling.temperature == 0.0 && !self.sampler.changes_logits();
        let guess = is_plain_greedy.then(|| argmax(logits));
        let guess = match (&mut self.matcher, guess) {
            // Most of the time the likeliest token is allowed, and asking that costs much less than a mask.
            (Some(matcher), Some(token)) => (!table.ends_generation(token) && matcher.allows(token)?).then_some(token),
            (_, guess) => guess,
        };
        let token = match guess {
            Some(token) => token,
            None => {
                // llama.cpp's logits can't be changed in place; copying 49 152 of them takes 10 µs of a step's 10 000.
                scratch.clear();
                scratch.extend_from_slice(logits);
                if let Some(matcher) = &mut self.matcher {
                    matcher.mask(scratch)?;
                }
                self.sampler.sample(scratch)
            }
        };
        if let Some(matcher) = &mut self.matcher
            && !table.ends_generation(token)
        {
            matcher.accept(token)?;
        }
        self.sampler.accept(token);
        Ok(token)
    }

    fn finish(&self, reason: FinishReason, now: Instant) -> Progress {
        let asked = self.prompt.len() - self.request.output_prefix.len();
        let mut usage = Usage::new(asked as u64, u64::from(self.generated));
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

/// What a token adds to the text.
fn bytes<'a>(token: TokenId, shown: &'a [(TokenId, String)], table: &'a TokenTable) -> &'a [u8] {
    let text = shown.iter().find(|(shown, _)| *shown == token);
    text.map_or_else(|| table.bytes(token), |(_, text)| text.as_bytes())
}

/// A delta that tells of the prompt only.
fn about(prompt: Vec<PromptToken>) -> Delta {
    let mut delta = Delta::default();
    delta.prompt = prompt;
    delta
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
