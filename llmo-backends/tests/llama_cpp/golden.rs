//! The same tokens as llama.cpp's own server, recorded by `benches/peers/identity.sh`.

use llmo_core::GenerateRequest;
use llmo_core::model::{Delta, Message, Prompt, TokenId};
use serde::Deserialize;

use crate::support::{load, options, run, shared};

/// Other CPUs use other kernels, which round 8-bit activations differently, and another version of llama.cpp may too. A
/// token may then differ from the golden one only where both were about equally likely: closer than this, in natural
/// logarithms. (Between engines, log probabilities of this model's likely tokens differ by 0.1 on average.)
const NEAR_TIE: f32 = 0.2;

/// After such a near-tie the texts go different ways. Most prompts have none.
const IDENTICAL_AT_LEAST: usize = 12;

#[derive(Deserialize)]
struct Golden {
    max_tokens: u32,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: Option<String>,
    messages: Option<Vec<Message>>,
    prompt_tokens: Vec<TokenId>,
    tokens: Vec<TokenId>,
    ended: bool,
}

impl Case {
    fn prompt(&self) -> Prompt {
        match (&self.text, &self.messages) {
            (Some(text), None) => Prompt::Text(text.clone()),
            (None, Some(messages)) => Prompt::Chat(messages.clone()),
            _ => panic!("a case is a text or a conversation"),
        }
    }
}

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/llama_cpp_greedy.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Where the answer leaves the golden one: the place and how much likelier ours was, if it is known.
fn divergence(answer: &Delta, case: &Case) -> Option<(usize, Option<f32>)> {
    let place =
        (0..answer.tokens.len().max(case.tokens.len())).find(|&i| answer.tokens.get(i) != case.tokens.get(i))?;
    let gap = answer.logprobs.get(place).zip(case.tokens.get(place)).and_then(|(ours, golden)| {
        let theirs = ours.top.iter().find(|alternative| alternative.token == *golden)?;
        Some(ours.logprob - theirs.logprob)
    });
    Some((place, gap))
}

#[tokio::test]
async fn greedy_output_is_that_of_llama_cpp_s_own_server() {
    let golden = golden();
    let model = shared();
    let mut identical = 0;
    for (number, case) in golden.cases.iter().enumerate() {
        let mut request = GenerateRequest::new(case.prompt()).max_tokens(golden.max_tokens);
        request.logprobs = Some(10);
        let (answer, finish) = run(&model, request).await.unwrap();
        assert_eq!(finish.usage.prompt_tokens, case.prompt_tokens.len() as u64, "tokens of prompt {number}");
        match divergence(&answer, case) {
            None => {
                assert_eq!(case.ended, answer.tokens.len() < golden.max_tokens as usize, "the end of answer {number}");
                identical += 1;
            }
            Some((place, gap)) => {
                println!("answer {number} differs at token {place}; ours was likelier by {gap:?}");
                assert!(
                    gap.is_some_and(|gap| gap < NEAR_TIE),
                    "answer {number} differs at token {place} by {gap:?}:\n{:?}\n{:?}",
                    answer.tokens,
                    case.tokens
                );
            }
        }
    }
    println!("{identical} of {} answers are identical", golden.cases.len());
    assert!(identical >= IDENTICAL_AT_LEAST, "only {identical} answers are identical");
}

#[tokio::test]
async fn prompts_become_the_tokens_that_llama_cpp_s_own_server_makes_of_them() {
    let mut options = options();
    options.slots = 1;
    let model = load(options);
    for case in golden().cases {
        // A prompt given as tokens and the same prompt given as text share all their KV cache, but only if they are the
        // same tokens.
        let tokens = GenerateRequest::new(Prompt::Tokens(case.prompt_tokens.clone())).max_tokens(1);
        run(&model, tokens).await.unwrap();
        let (_, finish) = run(&model, GenerateRequest::new(case.prompt()).max_tokens(1)).await.unwrap();
        assert_eq!(finish.usage.cached_tokens, case.prompt_tokens.len() as u64 - 1, "{:?}", case.prompt());
    }
}
