//! Log probabilities.

use super::Subject;

/// Rounding may lift the logarithm of a probability of one a little above zero.
const ROUNDING: f32 = 1e-3;

pub(super) async fn check(subject: &Subject) {
    let rule = "every token has a log probability, with the alternatives asked for";
    for alternatives in [0u32, 3] {
        let mut request = subject.request();
        request.logprobs = Some(alternatives);
        let answer = subject.answer(rule, request).await;
        let entries = &answer.whole.logprobs;
        assert_eq!(entries.len() as u64, answer.finish.usage.completion_tokens, "{rule}: the number of entries");
        for (place, entry) in entries.iter().enumerate() {
            assert!(entry.logprob <= ROUNDING, "{rule}: {} at {place}", entry.logprob);
            assert_eq!(entry.top.len(), alternatives as usize, "{rule}: the number of alternatives at {place}");
            let sorted = entry.top.windows(2).all(|pair| pair[0].logprob >= pair[1].logprob);
            assert!(sorted, "{rule}: the alternatives at {place} are not ordered: {:?}", entry.top);
            if let Some(likeliest) = entry.top.first() {
                let gap = likeliest.logprob - entry.logprob;
                assert!(gap.abs() <= ROUNDING, "{rule}: greedy took a token {gap} below the likeliest at {place}");
            }
        }
        if !answer.whole.tokens.is_empty() {
            let tokens: Vec<_> = entries.iter().map(|entry| entry.token).collect();
            assert_eq!(tokens, answer.whole.tokens, "{rule}: the tokens of the entries");
        }
    }
    let rule = "log probabilities come only if asked for";
    let answer = subject.answer(rule, subject.request()).await;
    assert!(answer.whole.logprobs.is_empty(), "{rule}");
}
