//! Stop strings.

use super::Subject;
use super::streams::Answer;
use crate::model::FinishReason;

pub(super) async fn check(subject: &Subject) {
    let rule = "a stop string ends the text before it";
    let text = subject.answer(rule, subject.request()).await.whole.text;
    // Every third place and two lengths: some of the stops lie inside a token, some across several.
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).skip(1).step_by(3).collect();
    for length in [1, 5] {
        for &at in places.iter().take(6) {
            let stop: String = text[at..].chars().take(length).collect();
            let expected = text.find(&stop).map_or("", |first| &text[..first]);
            let answer = subject.answer(rule, subject.request().stop(&stop)).await;
            check_stopped(subject, rule, &answer, expected, &stop);
        }
    }
    the_first_of_several_counts(subject, &text).await;
    a_stop_that_never_comes_changes_nothing(subject, &text).await;
}

async fn the_first_of_several_counts(subject: &Subject, text: &str) {
    let rule = "of several stop strings the first in the text counts";
    let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let (early, late) = (text[..middle].chars().next(), text[middle..].chars().last());
    let (Some(early), Some(late)) = (early, late) else { return };
    let mut request = subject.request().stop(late.to_string()).stop(early.to_string());
    request.stop.push("never to be found §§".into());
    let answer = subject.answer(rule, request).await;
    let first = text.find([early, late]).unwrap_or(0);
    let stop: String = text[first..].chars().take(1).collect();
    check_stopped(subject, rule, &answer, &text[..first], &stop);
}

async fn a_stop_that_never_comes_changes_nothing(subject: &Subject, text: &str) {
    let rule = "a stop string that begins but never ends leaks nothing and loses nothing";
    let almost = format!("{}§never§", text.chars().rev().take(2).collect::<Vec<_>>().iter().rev().collect::<String>());
    let answer = subject.answer(rule, subject.request().stop(almost)).await;
    assert_eq!(answer.whole.text, text, "{rule}");
    assert_eq!(answer.finish.stop, None, "{rule}");
}

fn check_stopped(subject: &Subject, rule: &str, answer: &Answer, expected: &str, stop: &str) {
    assert_eq!(answer.whole.text, expected, "{rule}: stop {stop:?}");
    assert_eq!(answer.finish.reason, FinishReason::Stop, "{rule}: the reason for stop {stop:?}");
    if subject.options.stop_named {
        assert_eq!(answer.finish.stop.as_deref(), Some(stop), "{rule}: the stop that the finish names");
    }
}
