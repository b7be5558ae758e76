//! One request, from its prompt's tokens to its finish, on the worker's thread.

use std::time::{Duration, Instant};

use llmo_core::ModelError;
use llmo_core::model::{Delta, Event, Finish, FinishReason, Result, Timings, TokenId, TokenLogprob, TopLogprob, Usage};
use llmo_core::text::OutputAssembler;

use super::decoder::Decoder;
use super::events::Sender;
use super::queue::Job;
use super::tokenizer::Tokenizer;
use crate::constraint::Matcher;
use crate::logprobs::logprobs;
use crate::sampler::Sampler;

/// A request that was found valid.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) prompt: Vec<TokenId>,
    /// Most tokens to generate; with the prompt they fit the context.
    pub(super) max_tokens: usize,
    pub(super) sampler: Sampler,
    /// What the output is held to.
    pub(super) matcher: Option<Matcher>,
    /// Control tokens that are part of the text.
    pub(super) shown: Vec<(TokenId, String)>,
    pub(super) stop_tokens: Vec<TokenId>,
    pub(super) output: OutputAssembler,
    /// Report log probabilities, and of how many alternatives.
    pub(super) logprobs: Option<usize>,
    pub(super) events: Sender,
    pub(super) queued: Instant,
}

impl Job for Generation {
    fn tokens(&self) -> u64 {
        self.prompt.len() as u64
    }

    fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }
}

/// What a generation works with.
pub(super) struct Engine<'a> {
    pub(super) decoder: &'a mut Decoder,
    pub(super) tokenizer: &'a Tokenizer,
    /// Tokens of a prompt that are read between two looks at cancellation.
    pub(super) chunk: usize,
    /// Told how many tokens the cache holds.
    pub(super) occupied: &'a dyn Fn(usize),
}

/// Why a generation ended without an error.
enum End {
    Finished(FinishReason, Option<String>),
    /// Nobody reads any more.
    Abandoned,
}

impl Generation {
    /// Generates until an end, sending every event but an error, which is returned.
    pub(super) fn run(mut self, engine: &mut Engine<'_>) -> (Sender, Result<()>) {
        let result = self.generate(engine);
        (self.events, result)
    }

    fn generate(&mut self, engine: &mut Engine<'_>) -> Result<()> {
        let started = Instant::now();
        self.events.check_deadline(started)?;
        self.events.start();
        let Some(logits) = self.prefill(engine)? else { return Ok(()) };
        let prefilled = Instant::now();
        let mut generated = 0;
        match self.decode(engine, logits, &mut generated)? {
            End::Abandoned => {}
            End::Finished(reason, stop) => {
                let timings = Timings::new(started - self.queued, prefilled - started, prefilled.elapsed());
                self.finish(reason, stop, generated, timings);
            }
        }
        Ok(())
    }

    /// The logits after the prompt; `None` if nobody waits for them any more.
    fn prefill(&mut self, engine: &mut Engine<'_>) -> Result<Option<Vec<f32>>> {
        engine.decoder.clear();
        self.sampler.prime(&self.prompt, 0);
        let last = (self.prompt.len() - 1) / engine.chunk * engine.chunk;
        let mut read = 0;
        for chunk in self.prompt[..last].chunks(engine.chunk) {
            engine.decoder.read(chunk).map_err(failed)?;
            read += chunk.len();
            (engine.occupied)(read);
            if self.events.is_closed() {
                return Ok(None);
            }
            self.events.check_deadline(Instant::now())?;
        }
        engine.decoder.next(&self.prompt[last..]).map(Some).map_err(failed)
    }

    fn decode(&mut self, engine: &mut Engine<'_>, mut logits: Vec<f32>, generated: &mut usize) -> Result<End> {
        loop {
            // Log probabilities are those of the model; the sampler may change logits in place.
            let changes = self.sampler.changes_logits() || self.matcher.is_some();
            let original = (self.logprobs.is_some() && changes).then(|| logits.clone());
            if let Some(matcher) = &mut self.matcher {
                matcher.mask(&mut logits)?;
            }
            let token = self.sampler.sample(&mut logits);
            if !logits.get(token as usize).is_some_and(|logit| logit.is_finite()) {
                return Err(ModelError::Internal("the model computed no usable logits".into()));
            }
            if engine.tokenizer.is_end(token) || self.stop_tokens.contains(&token) {
                return Ok(End::Finished(FinishReason::Stop, None));
            }
            if let Some(matcher) = &mut self.matcher {
                matcher.accept(token)?;
            }
            self.sampler.accept(token);
            *generated += 1;
            (engine.occupied)(self.prompt.len() + *generated);

            let shown = self.shown.iter().find(|(shown, _)| *shown == token);
            let step =
                self.output.push(shown.map_or_else(|| engine.tokenizer.bytes(token), |(_, text)| text.as_bytes()));
            let mut delta = Delta::new(step.text, vec![token]);
            delta.mirostat_mu = self.sampler.mirostat_mu();
            if let Some(top) = self.logprobs {
                delta.logprobs.push(report(original.as_ref().unwrap_or(&logits), token, top, engine.tokenizer));
            }
            self.events.send(Ok(Event::Delta(delta)));
            if step.stopped.is_some() {
                return Ok(End::Finished(FinishReason::Stop, step.stopped));
            }
            if self.matcher.as_ref().is_some_and(Matcher::must_end) {
                return Ok(End::Finished(FinishReason::Stop, None));
            }
            if *generated >= self.max_tokens {
                return Ok(End::Finished(FinishReason::Length, None));
            }
            if self.events.is_closed() {
                return Ok(End::Abandoned);
            }
            self.events.check_deadline(Instant::now())?;
            logits = engine.decoder.next(&[token]).map_err(failed)?;
        }
    }

    fn finish(&mut self, reason: FinishReason, stop: Option<String>, generated: usize, timings: Timings) {
        let rest = self.output.finish();
        if !rest.is_empty() {
            self.events.send(Ok(Event::Delta(Delta::new(rest, Vec::new()))));
        }
        // What was held back may have held a stop string.
        let stop = stop.or_else(|| self.output.stopped().map(str::to_owned));
        let reason = if stop.is_some() { FinishReason::Stop } else { reason };
        let usage = Usage::new(self.prompt.len() as u64, generated as u64);
        let mut finish = Finish::new(reason, usage);
        finish.stop = stop;
        finish.timings = timings;
        let rate = |tokens: usize, time: Duration| tokens as f64 / time.as_secs_f64().max(1e-9);
        tracing::debug!(
            prompt_tokens = self.prompt.len(),
            generated,
            prefill_per_second = rate(self.prompt.len(), timings.prefill),
            decode_per_second = rate(generated, timings.decode),
            "generated"
        );
        self.events.send(Ok(Event::Finish(finish)));
    }
}

fn report(logits: &[f32], token: TokenId, top: usize, tokenizer: &Tokenizer) -> TokenLogprob {
    let found = logprobs(logits, token, top);
    let bytes = |token| tokenizer.bytes(token).to_vec();
    let top = found.top.into_iter().map(|(token, logprob)| TopLogprob { token, bytes: bytes(token), logprob });
    TokenLogprob { token, bytes: bytes(token), logprob: found.logprob, top: top.collect() }
}

fn failed(error: candle_core::Error) -> ModelError {
    ModelError::Internal(format!("candle: {error}"))
}
