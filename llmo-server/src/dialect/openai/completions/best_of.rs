//! `best_of`: more completions than are told, of which the likeliest stay.

use llmo_core::model::{Delta, Finish};

use crate::dialect::call::{Form, MAX_CHOICES};
use crate::fault::Fault;

/// How many completions of each prompt are generated.
pub(super) fn checked(best_of: Option<u32>, n: u32, stream: bool) -> Result<u32, Fault> {
    let best_of = best_of.unwrap_or(n);
    if best_of < n {
        return Err(Fault::invalid("best_of", format!("must be at least n, which is {n}; got {best_of}")));
    }
    if best_of as usize > MAX_CHOICES {
        return Err(Fault::invalid("best_of", format!("must be at most {MAX_CHOICES}, got {best_of}")));
    }
    if stream && best_of > n {
        return Err(Fault::invalid("best_of", "which is best is known at the end only: leave out stream or best_of"));
    }
    Ok(best_of)
}

/// Of each prompt's completions the best, by their mean log probability a token, likeliest first. What the others cost is
/// counted with the first that stays.
pub(crate) fn best(choices: Vec<(Delta, Finish)>, form: Form) -> Vec<(Delta, Finish)> {
    if form.best_of <= form.per_prompt {
        return choices;
    }
    let mut told = Vec::with_capacity(choices.len());
    let mut choices = choices.into_iter();
    loop {
        let mut of_prompt: Vec<_> = choices.by_ref().take(form.best_of).collect();
        if of_prompt.is_empty() {
            return told;
        }
        // Stable: of equals, the first stays the first.
        of_prompt.sort_by(|(a, _), (b, _)| mean_logprob(b).total_cmp(&mean_logprob(a)));
        let cut: u64 = of_prompt.iter().skip(form.per_prompt).map(|(_, finish)| finish.usage.completion_tokens).sum();
        of_prompt.truncate(form.per_prompt);
        if let Some((_, finish)) = of_prompt.first_mut() {
            finish.usage.completion_tokens += cut;
        }
        told.append(&mut of_prompt);
    }
}

/// An empty completion is as likely as its end: nothing is known of that, so it comes last.
fn mean_logprob(delta: &Delta) -> f64 {
    let sum: f64 = delta.logprobs.iter().map(|entry| f64::from(entry.logprob)).sum();
    if delta.logprobs.is_empty() { f64::NEG_INFINITY } else { sum / delta.logprobs.len() as f64 }
}

#[cfg(test)]
mod tests {
    use llmo_core::FinishReason;
    use llmo_core::model::{TokenLogprob, Usage};

    use super::*;

    fn choice(name: &str, logprobs: &[f32]) -> (Delta, Finish) {
        let mut delta = Delta::new(name, Vec::new());
        delta.logprobs = logprobs
            .iter()
            .map(|&logprob| TokenLogprob { token: 0, bytes: Vec::new(), logprob, top: Vec::new() })
            .collect();
        (delta, Finish::new(FinishReason::Stop, Usage::new(5, logprobs.len() as u64)))
    }

    #[test]
    fn the_likeliest_by_token_stay_and_everything_is_counted() {
        let mut form = Form::default();
        (form.per_prompt, form.best_of) = (1, 3);
        let of_two_prompts = vec![
            choice("short", &[-2.0]),
            choice("long", &[-1.0, -1.0, -1.0]),
            choice("empty", &[]),
            choice("x", &[-0.5]),
            choice("y", &[-0.1]),
            choice("z", &[-0.9]),
        ];
        let best = best(of_two_prompts, form);
        let told: Vec<_> = best.iter().map(|(delta, finish)| (&*delta.text, finish.usage.completion_tokens)).collect();
        assert_eq!(told, [("long", 4), ("y", 3)]);
    }

    #[test]
    fn fewer_than_n_and_streams_are_refused() {
        assert_eq!(checked(Some(4), 2, false).unwrap(), 4);
        assert_eq!(checked(None, 2, true).unwrap(), 2);
        for (best_of, n, stream) in [(1, 2, false), (17, 1, false), (u32::MAX, 1, false), (3, 2, true)] {
            assert!(checked(Some(best_of), n, stream).is_err(), "{best_of} {n} {stream}");
        }
    }
}
