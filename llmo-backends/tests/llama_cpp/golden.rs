//! The same tokens as llama.cpp's own server, recorded by `benches/peers/identity.sh`.

use llmo_backends::llama_cpp::{Kernels, KvType, LlamaCpp};
use llmo_core::GenerateRequest;
use llmo_core::model::{FinishReason, Message, Prompt, TokenId};
use serde::Deserialize;

use crate::support::{alone_with, load, options, run, shared};

/// Other CPUs use other kernels, which round differently, and so may another version of llama.cpp; this model's quantised
/// activations make much of it. A token may then differ from the golden one only where both were about equally likely:
/// closer than this, in natural logarithms. (Flash attention against plain attention on one machine: up to 0.46.)
const NEAR_TIE: f32 = 0.8;

/// Share of such places among all tokens. (Flash against plain attention: 0.033.)
const NEAR_TIES_AT_MOST: f64 = 0.1;

/// With the kernels that the golden answers were made with, this many of the 20 have no such place.
const IDENTICAL_AT_LEAST: usize = 18;

#[derive(Deserialize)]
struct Golden {
    max_tokens: u32,
    /// What the CPU can that decides over kernels.
    cpu: Vec<String>,
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

/// Does llama.cpp compute here with the kernels that the golden answers were made with?
fn same_kernels(golden: &Golden) -> bool {
    if Kernels::active().unwrap().has("LLMO_TILES") {
        return false;
    }
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let can = |feature: &str| cpu.lines().find(|line| line.starts_with("flags")).is_some_and(|f| f.contains(feature));
    let same = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"]
        .into_iter()
        .all(|feature| can(feature) == golden.cpu.iter().any(|known| known == feature));
    // llama.cpp is compiled for this very CPU exactly if this test is.
    same && cfg!(target_feature = "avx512vnni") == can("avx512_vnni")
}

/// The places where the model prefers another token than the golden one, and by how much, in natural logarithms.
///
/// After each of them the model is given the golden tokens up to there, and goes on.
async fn near_ties(model: &LlamaCpp, case: &Case, max_tokens: u32) -> Vec<(usize, f32)> {
    let mut ties = Vec::new();
    let mut done = 0;
    let mut prompt = case.prompt();
    loop {
        let mut request = GenerateRequest::new(prompt).max_tokens(max_tokens - done as u32);
        request.logprobs = Some(20);
        let (answer, _) = run(model, request).await.unwrap();
        let golden = &case.tokens[done..];
        let Some(place) = (0..golden.len()).find(|&i| answer.tokens.get(i) != Some(&golden[i])) else { return ties };
        let gap = if let Some(ours) = answer.logprobs.get(place) {
            let theirs = ours.top.iter().find(|alternative| alternative.token == golden[place]);
            theirs.map_or(f32::INFINITY, |theirs| ours.logprob - theirs.logprob)
        } else {
            let before = case.prompt_tokens.iter().chain(&case.tokens[..done + place]).copied().collect();
            gap_to_the_end(model, before, golden[place]).await
        };
        ties.push((done + place, gap));
        done += place + 1;
        if done == case.tokens.len() {
            return ties;
        }
        prompt = Prompt::Tokens(case.prompt_tokens.iter().chain(&case.tokens[..done]).copied().collect());
    }
}

/// By how much the model prefers to end here, if it does, to going on with `token`.
async fn gap_to_the_end(model: &LlamaCpp, before: Vec<TokenId>, token: TokenId) -> f32 {
    // The two tokens that end this model's answers.
    const ENDS: [TokenId; 2] = [0, 2];
    let mut request = GenerateRequest::new(Prompt::Tokens(before)).max_tokens(1);
    request.logprobs = Some(20);
    // A bias does not change the log probabilities that are reported.
    request.sampling.logit_bias = ENDS.iter().map(|&end| (end, -100.0)).collect();
    let (answer, _) = run(model, request).await.unwrap();
    let Some(best) = answer.logprobs.first().filter(|best| best.token == token) else { return f32::INFINITY };
    let ends = best.top.iter().filter(|alternative| ENDS.contains(&alternative.token));
    ends.map(|end| end.logprob - best.logprob).fold(0.0, f32::max)
}

#[tokio::test]
async fn greedy_output_is_that_of_llama_cpp_s_own_server() {
    check_greedy_output().await;
}

async fn check_greedy_output() {
    let golden = golden();
    let model = shared();
    let (mut identical, mut places, mut tokens) = (0, 0, 0);
    for (number, case) in golden.cases.iter().enumerate() {
        let ties = near_ties(&model, case, golden.max_tokens).await;
        if !ties.is_empty() {
            println!("answer {number} differs at (token, by): {ties:?}");
        }
        assert!(ties.iter().all(|&(_, gap)| gap < NEAR_TIE), "answer {number} differs: {ties:?}");
        identical += usize::from(ties.is_empty());
        places += ties.len();
        tokens += case.tokens.len();
    }
    println!("{identical} of {} answers are identical; {places} of {tokens} tokens differ", golden.cases.len());
    assert!((places as f64) < tokens as f64 * NEAR_TIES_AT_MOST);
    if same_kernels(&golden) {
        assert!(identical >= IDENTICAL_AT_LEAST, "only {identical} answers are identical");
    }
}

/// llmo's own kernels add up in another order.
#[test]
fn without_llmo_s_own_kernels_greedy_output_is_that_of_llama_cpp_s_own_server() {
    alone_with(&[("LLMO_TILED_KERNELS", "off")], "golden::child_greedy_output");
}

#[tokio::test]
#[ignore = "run by `alone_with`"]
async fn child_greedy_output() {
    assert!(!Kernels::active().unwrap().has("LLMO_TILES"));
    check_greedy_output().await;
}

#[tokio::test]
async fn answers_end_where_llama_cpp_s_own_server_ends_them() {
    let golden = golden();
    let model = shared();
    let ended: Vec<&Case> = golden.cases.iter().filter(|case| case.ended).collect();
    let mut same = 0;
    for case in &ended {
        let prompt = case.prompt_tokens.iter().chain(&case.tokens).copied().collect();
        let (answer, finish) = run(&model, GenerateRequest::new(Prompt::Tokens(prompt)).max_tokens(1)).await.unwrap();
        same += usize::from(answer.tokens.is_empty() && finish.reason == FinishReason::Stop);
    }
    let at_least = if same_kernels(&golden) { ended.len() } else { ended.len() / 2 };
    assert!(same >= at_least, "{same} of {} answers end", ended.len());
}

#[tokio::test]
async fn prompts_become_the_tokens_that_llama_cpp_s_own_server_makes_of_them() {
    let mut options = options();
    // With 8 bits, all but the last token is reused; with 16, less.
    (options.slots, options.kv_type) = (1, Some(KvType::Q8_0));
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
