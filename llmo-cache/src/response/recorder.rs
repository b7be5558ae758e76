//! Collecting a generation while it passes by.

use llmo_core::model::{Delta, Event, Finish, ToolCallDelta};

use super::codec::Generation;

/// Deltas joined to one when an answer is stored: a stream from the cache comes in a quarter of the events, and still
/// as a stream.
const GROUP: usize = 4;
/// What a delta costs besides its contents, in bytes, about.
const DELTA_OVERHEAD: usize = 4;

/// What one event means for the recording.
#[derive(Debug, PartialEq)]
pub(super) enum Recorded {
    /// Nothing to do yet, or any more.
    Nothing,
    /// The answer is complete.
    Complete(Generation),
    /// The answer has just become too large to keep.
    TooLarge,
}

/// Watches the events of one generation; what it holds is bounded.
#[derive(Debug)]
pub(super) struct Recorder {
    /// `None` once there is nothing more to record.
    deltas: Option<Vec<Delta>>,
    /// Deltas in the last group.
    in_group: usize,
    bytes: usize,
    max_bytes: usize,
}

impl Recorder {
    /// Keeps at most `max_bytes`, about as many as the answer takes when stored.
    pub(super) fn new(max_bytes: usize) -> Self {
        // The first delta stays alone, so that a replayed stream begins as the original did.
        Self { deltas: Some(Vec::new()), in_group: GROUP, bytes: 0, max_bytes }
    }

    pub(super) fn observe(&mut self, event: &Event) -> Recorded {
        match event {
            Event::Delta(delta) => self.delta(delta),
            Event::Finish(finish) => self.finish(finish),
            // A kind of event this version doesn't know can't be replayed.
            _ => {
                self.give_up();
                Recorded::Nothing
            }
        }
    }

    /// The generation failed.
    pub(super) fn give_up(&mut self) {
        self.deltas = None;
    }

    fn delta(&mut self, delta: &Delta) -> Recorded {
        let Some(deltas) = &mut self.deltas else { return Recorded::Nothing };
        self.bytes += size(delta);
        if self.bytes > self.max_bytes {
            self.give_up();
            return Recorded::TooLarge;
        }
        match deltas.last_mut() {
            Some(last) if self.in_group < GROUP => {
                last.append(delta.clone());
                self.in_group += 1;
            }
            _ => {
                self.in_group = if deltas.is_empty() { GROUP } else { 1 };
                deltas.push(delta.clone());
            }
        }
        Recorded::Nothing
    }

    fn finish(&mut self, finish: &Finish) -> Recorded {
        let Some(deltas) = self.deltas.take() else { return Recorded::Nothing };
        let mut stored = Finish::new(finish.reason, finish.usage);
        stored.stop.clone_from(&finish.stop);
        Recorded::Complete(Generation { deltas, finish: stored })
    }
}

fn size(delta: &Delta) -> usize {
    let logprobs = delta.logprobs.iter().map(|entry| {
        let top: usize = entry.top.iter().map(|top| top.bytes.len() + 8).sum();
        entry.bytes.len() + 8 + top
    });
    let texts = |call: &ToolCallDelta| {
        [call.id.as_ref(), call.name.as_ref()].into_iter().flatten().map(String::len).sum::<usize>()
    };
    let calls = delta.tool_calls.iter().map(|call| call.arguments.len() + texts(call) + 8).sum::<usize>();
    let prompt = delta.prompt.iter().map(|entry| entry.bytes.len() + 12 + 12 * entry.top.len()).sum::<usize>();
    DELTA_OVERHEAD + prompt + delta.text.len() + 3 * delta.tokens.len() + logprobs.sum::<usize>() + calls
}

#[cfg(test)]
mod tests {
    use llmo_core::model::{FinishReason, Timings, Usage};

    use super::*;

    #[test]
    fn calls_of_functions_are_kept_whole() {
        let mut recorder = Recorder::new(1 << 20);
        let pieces: Vec<_> = (0..20).map(|n| ToolCallDelta::arguments(0, n.to_string())).collect();
        for piece in &pieces {
            let mut delta = Delta::default();
            delta.tool_calls.push(piece.clone());
            assert!(matches!(recorder.observe(&Event::Delta(delta)), Recorded::Nothing));
        }
        let Recorded::Complete(generation) = recorder.observe(&finish()) else { panic!("not complete") };
        let kept: Vec<_> = generation.deltas.into_iter().flat_map(|delta| delta.tool_calls).collect();
        assert_eq!(kept, pieces);
    }

    fn word(n: u32) -> Event {
        Event::Delta(Delta::new(format!("w{n} "), vec![n]))
    }

    fn finish() -> Event {
        Event::Finish(Finish::new(FinishReason::Stop, Usage::new(3, 9)))
    }

    #[test]
    fn deltas_are_joined_but_the_first_stays_alone() {
        let mut recorder = Recorder::new(1000);
        for n in 0..7 {
            assert_eq!(recorder.observe(&word(n)), Recorded::Nothing);
        }
        let Recorded::Complete(generation) = recorder.observe(&finish()) else { panic!("not complete") };
        let texts: Vec<_> = generation.deltas.iter().map(|delta| delta.text.as_str()).collect();
        assert_eq!(texts, ["w0 ", "w1 w2 w3 w4 ", "w5 w6 "]);
        assert_eq!(generation.deltas[1].tokens, [1, 2, 3, 4]);
    }

    #[test]
    fn timings_are_not_recorded() {
        let mut finish = Finish::new(FinishReason::Length, Usage::new(1, 1));
        finish.timings = Timings::new(std::time::Duration::from_secs(1), Default::default(), Default::default());
        let Recorded::Complete(generation) = Recorder::new(10).observe(&Event::Finish(finish)) else { panic!() };
        assert_eq!(generation.finish.timings, Timings::default());
    }

    #[test]
    fn an_answer_that_grows_too_large_is_dropped_once() {
        let mut recorder = Recorder::new(20);
        let seen: Vec<_> = (0..6).map(|n| recorder.observe(&word(n))).collect();
        assert_eq!(seen.iter().filter(|recorded| **recorded == Recorded::TooLarge).count(), 1);
        assert_eq!(recorder.observe(&finish()), Recorded::Nothing);
    }

    #[test]
    fn a_failed_generation_is_never_complete() {
        let mut recorder = Recorder::new(1000);
        recorder.observe(&word(0));
        recorder.give_up();
        assert_eq!(recorder.observe(&finish()), Recorded::Nothing);
    }
}
