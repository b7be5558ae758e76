//! Guessing tokens ahead: the output stays, the runs become fewer.

use llmo_backends::llama_cpp::quantize::{WeightType, quantize};
use llmo_backends::llama_cpp::{Kernels, LlamaCpp, LlamaCppOptions, Speculation};
use llmo_core::model::{SamplingParams, TokenId};
use llmo_core::{GenerateRequest, Model};

use crate::support::{alone_with, load, options, run};

const TOKENS: u32 = 48;

/// Texts that quote themselves, so that guesses are right often, and wrong now and then.
const TEXTS: [&str; 4] = [
    "def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    return a - b\n\ndef mul(a, b):\n    return",
    "name,age,city\nAnna,31,Oslo\nPeter,45,Rome\nMaria,27,Oslo\nJohn,52,Rome\nClara,",
    "The cat sat on the mat. The dog sat on the mat. The cat sat on the mat. The dog sat on",
    "Once upon a time, there was a little",
];

fn guessing(speculation: Speculation) -> LlamaCppOptions {
    let mut options = options();
    options.speculation = speculation;
    options
}

async fn tokens(model: &LlamaCpp, request: GenerateRequest) -> Vec<TokenId> {
    run(model, request).await.unwrap().0.tokens
}

/// The places at which two ways to run the same tokens may differ: where the plain model finds both about equally likely.
async fn assert_same_but_for_near_ties(plain: &LlamaCpp, guessing: &LlamaCpp, mut request: GenerateRequest) {
    let got = tokens(guessing, request.clone()).await;
    request.logprobs = Some(20);
    let (expected, _) = run(plain, request).await.unwrap();
    let Some(place) = (0..expected.tokens.len()).find(|&place| got.get(place) != expected.tokens.get(place)) else {
        return;
    };
    let there = &expected.logprobs[place];
    let other = there.top.iter().find(|top| Some(&top.token) == got.get(place));
    let gap = other.map_or(f32::INFINITY, |other| (there.logprob - other.logprob).abs());
    println!("differs at {place} by {gap}");
    assert!(gap < 0.2, "at {place}: {there:?} and {:?}", got.get(place));
}

#[tokio::test]
async fn greedy_output_is_the_same_with_guesses() {
    let (plain, guessing) = (load(guessing(Speculation::Off)), load(guessing(Speculation::Always(6))));
    for text in TEXTS {
        let request = GenerateRequest::complete(text).max_tokens(TOKENS);
        assert_same_but_for_near_ties(&plain, &guessing, request).await;
    }
    let (without, with) = (plain.load(), guessing.load());
    assert_eq!(without.draft_tokens, 0);
    assert!(with.draft_accepted_tokens > 40 && with.draft_accepted_tokens < with.draft_tokens, "{with:?}");
}

#[tokio::test]
async fn seeded_output_with_penalties_is_the_same_with_guesses() {
    let (plain, guessing) = (load(guessing(Speculation::Off)), load(guessing(Speculation::Always(6))));
    for (seed, text) in (1..).zip(TEXTS) {
        let mut sampling = SamplingParams::at_temperature(0.3);
        (sampling.seed, sampling.repetition_penalty) = (Some(seed), 1.02);
        let request = GenerateRequest::complete(text).max_tokens(TOKENS).sampling(sampling);
        let expected = tokens(&plain, request.clone()).await;
        let got = tokens(&guessing, request).await;
        let same = expected.iter().zip(&got).take_while(|(a, b)| a == b).count();
        // A draw at the border between two tokens may fall on the other side.
        assert!(same >= expected.len() / 2, "seed {seed}: {same} of {}", expected.len());
    }
    assert!(guessing.load().draft_accepted_tokens > 0);
}

/// Guesses that an engine ran over all texts, and what it wrote.
async fn guesses(speculation: Speculation) -> (u64, Vec<Vec<TokenId>>) {
    let model = load(guessing(speculation));
    let mut written = Vec::new();
    for text in TEXTS {
        written.push(tokens(&model, GenerateRequest::complete(text).max_tokens(TOKENS)).await);
    }
    (model.load().draft_tokens, written)
}

#[tokio::test]
async fn by_default_guesses_are_run_where_they_leave_every_token_as_it_is() {
    if !Kernels::active().unwrap().has("LLMO_TILES") {
        return;
    }
    let (some, with) = guesses(Speculation::Auto).await;
    let (none, without) = guesses(Speculation::Off).await;
    assert!(some > 0 && none == 0);
    assert_eq!(with, without);
}

#[tokio::test]
#[ignore = "run by `alone`"]
async fn child_llama_cpp_s_own_attention() {
    assert!(!Kernels::active().unwrap().has("LLMO_TILES"));
    assert_eq!(guesses(Speculation::Auto).await.0, 0, "it may change the output");
    assert!(guesses(Speculation::On).await.0 > 0, "somebody has asked for it");
}

#[test]
fn where_llama_cpp_computes_attention_nothing_is_guessed_unless_told() {
    alone_with(&[("LLMO_TILED_KERNELS", "off")], "speculation::child_llama_cpp_s_own_attention");
}

/// Guessing by a second model: the same one in other bits, which is mostly right.
fn drafting(draft: &std::path::Path) -> LlamaCppOptions {
    let mut options = guessing(Speculation::Always(4));
    options.draft = Some(draft.to_owned());
    options
}

#[tokio::test]
async fn what_a_draft_model_guesses_leaves_the_output_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let draft = dir.path().join("draft.gguf");
    quantize(&crate::support::weights(), &draft, WeightType::Q8_0).unwrap();
    let (plain, drafted) = (load(guessing(Speculation::Off)), load(drafting(&draft)));
    let exact = Kernels::active().unwrap().has("LLMO_TILES");
    // Nothing of it repeats itself: only a model can guess it.
    for text in ["The three largest cities of Italy are", "Once upon a time, there was a little", TEXTS[0]] {
        let request = GenerateRequest::complete(text).max_tokens(TOKENS);
        if exact {
            assert_eq!(tokens(&drafted, request.clone()).await, tokens(&plain, request).await, "{text}");
        } else {
            assert_same_but_for_near_ties(&plain, &drafted, request).await;
        }
    }
    let load = drafted.load();
    assert!(load.draft_accepted_tokens * 2 > load.draft_tokens && load.draft_tokens > 60, "{load:?}");
    assert!(drafted.footprint().buffers > plain.footprint().buffers + 100_000_000, "its weights are counted");
}

#[tokio::test]
async fn two_streams_and_what_came_before_do_not_confuse_a_draft_model() {
    let (plain, drafted) = (load(guessing(Speculation::Off)), load(drafting(&crate::support::weights())));
    let request = |text: &str| GenerateRequest::complete(text).max_tokens(TOKENS);
    for (a, b) in [(TEXTS[0], TEXTS[1]), (TEXTS[2], TEXTS[0]), (TEXTS[3], TEXTS[3])] {
        let (one, other) = tokio::join!(tokens(&drafted, request(a)), tokens(&drafted, request(b)));
        if Kernels::active().unwrap().has("LLMO_TILES") {
            assert_eq!(one, tokens(&plain, request(a)).await);
            assert_eq!(other, tokens(&plain, request(b)).await);
        }
    }
    assert!(drafted.load().draft_accepted_tokens > 60);
}

#[test]
fn a_draft_model_that_can_t_be_had_is_named() {
    let error = LlamaCpp::load(&crate::support::weights(), drafting("/nowhere/draft.gguf".as_ref())).err().unwrap();
    assert!(error.to_string().contains("/nowhere/draft.gguf"), "{error}");
}
