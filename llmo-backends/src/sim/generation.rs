//! A running generation: words on time, until it ends or something goes wrong.

use std::time::Duration;

use futures::Stream;
use llmo_core::model::{
    Delta, Event, Finish, FinishReason, ModelError, Result, Timings, TokenId, TokenLogprob, TopLogprob, Usage,
};
use llmo_core::text::output::OutputAssembler;
use tokio::time::Instant;

use super::faults::{Fault, SimFaults};
use super::options::SimText;
use super::plan::Plan;
use super::slots::Slot;
use super::vocabulary::{self, STREAMS, Word};

/// Everything that a generation needs. Dropping it frees the slot.
#[derive(Debug)]
pub struct Generation {
    /// What to generate.
    pub plan: Plan,
    /// Where; given back when the generation ends.
    pub slot: Option<Slot>,
    /// What the words look like.
    pub text: SimText,
    /// Joins characters, looks for stop strings.
    pub output: OutputAssembler,
    /// Tokens that end it.
    pub stop_tokens: Vec<TokenId>,
    /// Alternatives to report with each token, if log probabilities were asked for.
    pub logprobs: Option<u32>,
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// Tells when the model dies.
    pub faults: SimFaults,
    /// When nobody waits any more.
    pub deadline: Option<Instant>,
    /// From one word to the next.
    pub token_time: Duration,
    /// When the first word is due.
    pub first_due: Instant,
    /// Queue and prefill, already known.
    pub timings: Timings,
}

impl Generation {
    /// The events, made while they are read.
    pub fn stream(self) -> impl Stream<Item = Result<Event>> + Send + 'static {
        let state = State { emitted: 0, due: self.first_due, ending: Ending::No, generation: self };
        futures::stream::unfold(state, |mut state| async move {
            let event = state.next().await?;
            if event.is_err() {
                state.close();
            }
            Some((event, state))
        })
    }
}

/// Is there anything left to say?
enum Ending {
    No,
    Finish(Finish),
    Over,
}

struct State {
    generation: Generation,
    emitted: u32,
    due: Instant,
    ending: Ending,
}

impl State {
    async fn next(&mut self) -> Option<Result<Event>> {
        match std::mem::replace(&mut self.ending, Ending::Over) {
            Ending::Over => return None,
            Ending::Finish(finish) => {
                self.close();
                return Some(Ok(Event::Finish(finish)));
            }
            Ending::No => self.ending = Ending::No,
        }
        if let Some(reason) = self.end() {
            return Some(Ok(self.finish(reason)));
        }
        match self.fault_now() {
            Some(Fault::ErrorAfter(_, error)) => return Some(Err(error)),
            Some(Fault::EndAfter(_)) => {
                self.close();
                return None;
            }
            Some(Fault::PanicAfter(tokens)) => panic!("simulated panic after {tokens} tokens"),
            Some(Fault::HangAfter(_)) => return Some(Err(self.hang().await)),
            _ => {}
        }
        if let Err(error) = self.wait().await {
            return Some(Err(error));
        }
        Some(self.word().map(Event::Delta))
    }

    /// Why no word follows. The limit is looked at first: whoever stops at it never sees the end-of-text token.
    fn end(&self) -> Option<FinishReason> {
        if self.emitted >= self.generation.plan.limit {
            return Some(FinishReason::Length);
        }
        let stops = self.generation.stop_tokens.contains(&self.generation.plan.first.token());
        (stops || self.emitted >= self.generation.plan.until_end).then_some(FinishReason::Stop)
    }

    fn fault_now(&self) -> Option<Fault> {
        match &self.generation.fault {
            Some(
                fault @ (Fault::ErrorAfter(after, _)
                | Fault::HangAfter(after)
                | Fault::EndAfter(after)
                | Fault::PanicAfter(after)),
            ) if self.emitted >= *after => Some(fault.clone()),
            _ => None,
        }
    }

    /// Waits until the next word is due.
    async fn wait(&mut self) -> Result<()> {
        let Generation { deadline, faults, token_time, .. } = &self.generation;
        let due = deadline.map_or(self.due, |deadline| deadline.min(self.due));
        tokio::select! {
            biased;
            error = faults.died() => return Err(error),
            () = tokio::time::sleep_until(due) => {}
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(too_late());
        }
        self.due += *token_time;
        Ok(())
    }

    async fn hang(&self) -> ModelError {
        let deadline = async {
            match self.generation.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            error = self.generation.faults.died() => error,
            () = deadline => too_late(),
        }
    }

    fn word(&mut self) -> Result<Delta> {
        let generation = &mut self.generation;
        let word = generation.plan.first;
        let bytes = vocabulary::bytes(word.token(), generation.text)?;
        generation.plan.first = word.next();
        if let Some(slot) = &mut generation.slot {
            slot.grow();
        }
        self.emitted += 1;
        let step = generation.output.push(&bytes);
        let mut delta = Delta::new(step.text, vec![word.token()]);
        if let Some(top) = generation.logprobs {
            delta.logprobs.push(logprob(word, top, generation.text));
        }
        if let Some(stop) = step.stopped {
            let mut finish = self.summary(FinishReason::Stop);
            finish.stop = Some(stop);
            self.ending = Ending::Finish(finish);
        }
        Ok(delta)
    }

    /// The text still held back, then the finish.
    fn finish(&mut self, reason: FinishReason) -> Event {
        let mut finish = self.summary(reason);
        let rest = self.generation.output.finish();
        // The replacement of a broken last character can complete a stop string.
        if let Some(stop) = self.generation.output.stopped() {
            finish.reason = FinishReason::Stop;
            finish.stop = Some(stop.to_owned());
        }
        if rest.is_empty() {
            self.close();
            return Event::Finish(finish);
        }
        self.ending = Ending::Finish(finish);
        Event::Delta(Delta::new(rest, Vec::new()))
    }

    fn summary(&self, reason: FinishReason) -> Finish {
        let plan = &self.generation.plan;
        let mut finish =
            Finish::new(reason, Usage::new(plan.prompt_tokens, u64::from(plan.resumed) + u64::from(self.emitted)));
        finish.timings = self.generation.timings;
        finish.timings.decode = Instant::now().saturating_duration_since(self.generation.first_due);
        finish
    }

    /// The slot is free before the caller sees the end.
    fn close(&mut self) {
        self.ending = Ending::Over;
        self.generation.slot = None;
    }
}

fn too_late() -> ModelError {
    ModelError::DeadlineExceeded { stage: "while generating".into() }
}

/// Half of the probability for the word itself, half of the rest for the same place of the next stream, and so on.
fn logprob(word: Word, top: u32, text: SimText) -> TokenLogprob {
    let entry = |rank: u32| {
        let token: TokenId = Word { stream: (word.stream + rank) % STREAMS, ..word }.token();
        let bytes = vocabulary::bytes(token, text).unwrap_or_default();
        TopLogprob { token, bytes, logprob: -std::f32::consts::LN_2 * (rank + 1) as f32 }
    };
    let TopLogprob { token, bytes, logprob } = entry(0);
    TokenLogprob { token, bytes, logprob, top: (0..top).map(entry).collect() }
}
