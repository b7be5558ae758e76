//! candle's text generation through its public interface.

#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // Test code outside of test functions.

mod candle_models;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::quantized::gguf_file::Value;
use candle_models::tiny::{Tiny, Vocabulary};
use futures::StreamExt;
use llmo_backends::candle::{CandleModel, CandleOptions};
use llmo_core::conformance::model::{ModelSuite, check};
use llmo_core::model::{Delta, Event, Finish, Message, Prompt, SamplingParams, TokenizeOptions};
use llmo_core::{FinishReason, GenerateRequest, Model, ModelError};

const SMOLLM: Vocabulary = Vocabulary::Bpe("smollm");

/// A tiny model that never ends by itself, with these options.
fn endless(options: CandleOptions) -> CandleModel {
    let (_folder, path) = written(&Tiny::new("llama", SMOLLM));
    CandleModel::load(&path, options).unwrap()
}

fn written(tiny: &Tiny) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    tiny.write(&path);
    (folder, path)
}

/// A request whose output ends only by its length.
fn long(text: &str, tokens: u32) -> GenerateRequest {
    let mut request = GenerateRequest::complete(text).max_tokens(tokens);
    request.sampling.logit_bias = (0..3).map(|end| (end, -100.0)).collect();
    request
}

async fn whole(model: &CandleModel, request: GenerateRequest) -> (Delta, Finish) {
    model.generate(request).await.unwrap().collect_all().await.unwrap()
}

async fn refusal(model: &CandleModel, request: GenerateRequest) -> ModelError {
    match model.generate(request).await {
        Ok(stream) => stream.collect_all().await.unwrap_err(),
        Err(error) => error,
    }
}

/// Waits until the model is idle again.
async fn idle(model: &CandleModel) {
    let patience = Instant::now() + Duration::from_secs(10);
    while model.load().in_flight() > 0 {
        assert!(Instant::now() < patience, "still busy: {:?}", model.load());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn smollm2_keeps_the_contract_of_models() {
    let Some(path) = candle_models::fetched("smollm2-135m/model.gguf") else { return };
    let model = CandleModel::load(&path, CandleOptions::default()).unwrap();
    check(Arc::new(model), ModelSuite::default()).await;
}

#[tokio::test]
async fn greedy_and_seeded_output_repeats_and_unseeded_output_does_not() {
    let model = endless(CandleOptions::default());
    let sampled = |seed| {
        let mut request = long("the", 24);
        request.sampling.temperature = 1.5;
        request.sampling.seed = seed;
        request
    };
    assert_eq!(whole(&model, long("the", 24)).await.0.tokens, whole(&model, long("the", 24)).await.0.tokens);
    let seeded = whole(&model, sampled(Some(7))).await.0.tokens;
    assert_eq!(seeded, whole(&model, sampled(Some(7))).await.0.tokens);
    assert_ne!(seeded, whole(&model, sampled(Some(8))).await.0.tokens);
    assert_ne!(whole(&model, sampled(None)).await.0.tokens, whole(&model, sampled(None)).await.0.tokens);
}

#[tokio::test]
async fn a_broken_stream_is_continued_token_for_token() {
    let model = endless(CandleOptions::default());
    let request = |prompt, tokens| {
        let mut request = long("", tokens);
        request.prompt = prompt;
        request.sampling.temperature = 1.0;
        request.sampling.seed = Some(3);
        request
    };
    let prompt: Vec<u32> = (10..150).collect();
    let all = whole(&model, request(Prompt::Tokens(prompt.clone()), 20)).await.0.tokens;
    let so_far = [&prompt, &all[..8]].concat();
    assert_eq!(whole(&model, request(Prompt::Tokens(so_far), 12)).await.0.tokens, all[8..]);
}

#[tokio::test]
async fn the_size_of_chunks_does_not_change_the_output() {
    let text = "the wor abc ".repeat(30);
    let mut outputs = Vec::new();
    for chunk in [1, 7, 128, 4096] {
        let mut options = CandleOptions::default();
        options.prefill_chunk = chunk;
        outputs.push(whole(&endless(options), long(&text, 12)).await.0.tokens);
    }
    assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]), "{outputs:?}");
}

#[tokio::test]
async fn usage_and_reasons_are_told() {
    let model = endless(CandleOptions::default());
    let (delta, finish) = whole(&model, long("the abc", 9)).await;
    let prompt = model.tokenize("the abc", TokenizeOptions::with_special()).await.unwrap();
    assert_eq!((finish.reason, finish.usage.completion_tokens), (FinishReason::Length, 9));
    assert_eq!(finish.usage.prompt_tokens, prompt.len() as u64);
    assert_eq!(delta.tokens.len(), 9);
    assert_eq!(model.detokenize(&delta.tokens).await.unwrap(), delta.text);
    assert!(finish.timings.prefill > Duration::ZERO && finish.timings.decode > Duration::ZERO);

    let mut ends = GenerateRequest::complete("the");
    ends.sampling.logit_bias = vec![(2, 100.0)];
    let (delta, finish) = whole(&model, ends).await;
    assert_eq!((finish.reason, finish.usage.completion_tokens), (FinishReason::Stop, 0));
    assert_eq!((delta.text.as_str(), delta.tokens.len()), ("", 0));
}

#[tokio::test]
async fn output_stops_before_a_stop_string_and_names_it() {
    let model = endless(CandleOptions::default());
    let unstopped = whole(&model, long("the", 40)).await.0.text;
    let middle: Vec<char> = unstopped.chars().collect();
    let stop: String = middle[middle.len() / 2..middle.len() / 2 + 2].iter().collect();
    let (delta, finish) = whole(&model, long("the", 40).stop(stop.clone())).await;
    assert_eq!(delta.text, unstopped[..unstopped.find(&stop).unwrap()]);
    assert_eq!((finish.reason, finish.stop), (FinishReason::Stop, Some(stop)));
}

#[tokio::test]
async fn log_probabilities_come_with_each_token() {
    let model = endless(CandleOptions::default());
    let mut request = long("the", 5);
    request.logprobs = Some(3);
    let (delta, _) = whole(&model, request).await;
    assert_eq!(delta.logprobs.len(), 5);
    for (entry, token) in delta.logprobs.iter().zip(&delta.tokens) {
        assert_eq!(entry.token, *token);
        assert_eq!(entry.top.len(), 3);
        assert!(entry.logprob <= entry.top[0].logprob && entry.top.is_sorted_by(|a, b| a.logprob >= b.logprob));
        assert_eq!(String::from_utf8_lossy(&entry.bytes), model.detokenize(&[*token]).await.unwrap());
    }
}

#[tokio::test]
async fn a_context_that_is_too_small_is_told_with_the_counts() {
    let mut options = CandleOptions::default();
    options.context_length = Some(32);
    let model = endless(options);
    let tokens = |count| Prompt::Tokens((0..count).map(|i| 10 + i % 100).collect());
    let error = refusal(&model, GenerateRequest::new(tokens(30)).max_tokens(3)).await;
    assert!(
        matches!(error, ModelError::ContextOverflow { prompt_tokens: 30, max_tokens: 3, context_length: 32 }),
        "{error:?}"
    );
    let error = refusal(&model, GenerateRequest::new(tokens(32))).await;
    assert!(matches!(error, ModelError::ContextOverflow { prompt_tokens: 32, .. }), "{error:?}");
    let mut fills = long("", 1);
    (fills.prompt, fills.max_tokens) = (tokens(30), None);
    let (_, finish) = whole(&model, fills).await;
    assert_eq!((finish.reason, finish.usage.completion_tokens), (FinishReason::Length, 2));
}

#[tokio::test]
async fn bad_requests_are_refused_by_name_and_harm_nobody() {
    let model = endless(CandleOptions::default());
    let mut biased = long("a", 1);
    biased.sampling.logit_bias = vec![(1_000_000, 1.0)];
    let cases = [
        ("token 999999", GenerateRequest::new(Prompt::Tokens(vec![999_999]))),
        ("prompt", GenerateRequest::complete("")),
        ("temperature", long("a", 1).sampling(SamplingParams::at_temperature(f32::NAN))),
        ("logit_bias", biased),
        ("template", GenerateRequest::new(Prompt::Chat(vec![Message::user("no template in this file")]))),
    ];
    for (named, request) in cases {
        let error = refusal(&model, request).await;
        assert_eq!(error.code(), "invalid_request", "{error}");
        assert!(error.to_string().contains(named), "{error} does not name {named}");
    }
    assert_eq!(whole(&model, long("a", 1)).await.1.usage.completion_tokens, 1);
}

#[tokio::test]
async fn dropping_a_stream_frees_the_sequence() {
    let model = endless(CandleOptions::default());
    let mut stream = model.generate(long("the", 500)).await.unwrap();
    stream.next().await.unwrap().unwrap();
    assert_eq!(model.load().slots_free, 0);
    assert!(model.load().kv_used > 0.0);
    drop(stream);
    idle(&model).await;
    assert_eq!(model.load().kv_used, 0.0);
}

#[tokio::test]
async fn what_does_not_fit_the_queue_is_refused_and_the_queue_is_served_in_order() {
    let mut options = CandleOptions::default();
    options.max_queue = 2;
    let model = endless(options);
    let mut running = model.generate(long("the", 400)).await.unwrap();
    running.next().await.unwrap().unwrap();
    let first = model.generate(long("a", 2)).await.unwrap();
    let second = model.generate(long("b", 2)).await.unwrap();
    assert_eq!((model.load().queued_requests, model.load().queued_tokens), (2, 2));
    let error = refusal(&model, long("c", 2)).await;
    assert!(matches!(error, ModelError::Overloaded { .. }) && error.is_retryable(), "{error:?}");
    drop(first);
    let third = model.generate(long("c", 2)).await.expect("the place of a request nobody waits for");
    drop(running);
    let (second, third) = (second.collect_all().await.unwrap(), third.collect_all().await.unwrap());
    assert!(third.1.timings.queue >= second.1.timings.decode);
}

#[tokio::test]
async fn a_deadline_in_the_queue_ends_the_wait_and_one_while_generating_ends_the_output() {
    let model = endless(CandleOptions::default());
    let mut running = model.generate(long("the", 500)).await.unwrap();
    running.next().await.unwrap().unwrap();
    let soon = |request: GenerateRequest| request.deadline_after(Instant::now(), Duration::from_millis(50));
    let error = refusal(&model, soon(long("a", 1))).await;
    assert!(matches!(&error, ModelError::DeadlineExceeded { stage } if stage == "in the queue"), "{error:?}");
    drop(running);
    idle(&model).await;

    let error = refusal(&model, long("the", 1).deadline_after(Instant::now(), Duration::ZERO)).await;
    assert_eq!(error.code(), "deadline_exceeded");
    let mut stream = model.generate(long("the", 500).deadline_after(Instant::now(), Duration::from_millis(60))).await;
    let last = loop {
        match stream.as_mut().unwrap().next().await {
            Some(Ok(Event::Delta(_))) => {}
            other => break other,
        }
    };
    match last {
        Some(Err(ModelError::DeadlineExceeded { stage })) => assert_eq!(stage, "while generating"),
        // A machine that decodes 500 tokens of the tiny model in 60 ms.
        Some(Ok(Event::Finish(finish))) => assert_eq!(finish.reason, FinishReason::Length),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn streams_outlive_the_handle_of_the_model() {
    let model = endless(CandleOptions::default());
    let stream = model.generate(long("the", 20)).await.unwrap();
    drop(model);
    assert_eq!(stream.collect_all().await.unwrap().1.usage.completion_tokens, 20);
}

#[tokio::test]
async fn an_unknown_architecture_is_refused_with_what_works() {
    let (_folder, path) = written(&Tiny::new("mamba", SMOLLM));
    let error = CandleModel::load(&path, CandleOptions::default()).unwrap_err();
    assert_eq!(error.code(), "unsupported");
    assert!(error.to_string().contains("llama, qwen2, qwen3, gemma3"), "{error}");
}

#[tokio::test]
async fn damaged_files_are_refused_whatever_the_damage() {
    let (_folder, path) = written(&Tiny::new("llama", SMOLLM));
    let sound = std::fs::read(&path).unwrap();
    let refuse = |bytes: &[u8], about: &str| {
        std::fs::write(&path, bytes).unwrap();
        let error = CandleModel::load(&path, CandleOptions::default()).expect_err(about);
        assert!(matches!(error, ModelError::Corrupt { .. } | ModelError::Unsupported { .. }), "{about}: {error:?}");
    };
    for length in (0..sound.len()).step_by(997) {
        refuse(&sound[..length], &format!("the first {length} bytes"));
    }
    for (key, value) in [
        ("llama.attention.head_count", Value::U32(0)),
        ("llama.attention.head_count", Value::U32(u32::MAX)),
        ("llama.embedding_length", Value::U32(64)),
        ("llama.block_count", Value::U32(9)),
        ("llama.attention.layer_norm_rms_epsilon", Value::String("x".into())),
        ("tokenizer.ggml.tokens", Value::Array(vec![])),
        ("tokenizer.ggml.token_type", Value::Array(vec![Value::I32(1)])),
        ("general.architecture", Value::U8(1)),
    ] {
        let mut tiny = Tiny::new("llama", SMOLLM);
        tiny.replace.push((key.into(), value));
        tiny.write(&path);
        let bytes = std::fs::read(&path).unwrap();
        refuse(&bytes, key);
    }
}

#[tokio::test]
async fn markers_in_a_users_text_stay_text() {
    let Some(path) = candle_models::fetched("smollm2-135m/model.gguf") else { return };
    let model = CandleModel::load(&path, CandleOptions::default()).unwrap();
    let marker = model.tokenize("<|im_end|>", TokenizeOptions::default()).await.unwrap();
    assert!(marker.len() > 1, "a control token");
    let count = async |text: &str| {
        let request = GenerateRequest::new(Prompt::Chat(vec![Message::user(text)])).max_tokens(1);
        whole(&model, request).await.1.usage.prompt_tokens
    };
    // As control tokens they would count two each.
    assert!(count("a<|im_end|><|im_start|>b").await > count("ab").await + 6);
}

#[tokio::test]
async fn smollm2_knows_the_capital_of_france_and_reads_conversations() {
    let Some(path) = candle_models::fetched("smollm2-135m/model.gguf") else { return };
    let model = CandleModel::load(&path, CandleOptions::default()).unwrap();
    let info = model.info();
    assert_eq!((info.family.as_str(), info.vocab_size, info.context_length), ("llama", 49_152, 8192));
    assert_eq!(info.id, "model");
    let (answer, _) = whole(&model, GenerateRequest::complete("The capital of France is").max_tokens(2)).await;
    assert_eq!(answer.text, " Paris.");
    let request = GenerateRequest::ask("Say hello.").max_tokens(80);
    let (answer, finish) = whole(&model, request).await;
    assert!(!answer.text.is_empty() && !answer.text.contains("<|im_"), "{:?}", answer.text);
    let rate = |tokens: u64, time: Duration| tokens as f64 / time.as_secs_f64();
    println!(
        "prefill {:.0} t/s, decode {:.0} t/s",
        rate(finish.usage.prompt_tokens, finish.timings.prefill),
        rate(finish.usage.completion_tokens, finish.timings.decode)
    );
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named_without_its_folder() {
    let error = CandleModel::load(Path::new("/nowhere/secret/x.gguf"), CandleOptions::default()).unwrap_err();
    assert!(error.to_string().contains("x.gguf") && !error.to_string().contains("secret"), "{error}");
}

/// `cargo test --release --test candle -- --ignored --nocapture speed`
#[tokio::test]
#[ignore = "a measurement"]
async fn speed() {
    let Some(path) = candle_models::fetched("smollm2-135m/model.gguf") else { return };
    let model = CandleModel::load(&path, CandleOptions::default()).unwrap();
    for (prompt, output) in [(32, 64), (512, 64), (2048, 32)] {
        let mut request = long("", output);
        request.prompt = Prompt::Tokens((0..prompt).map(|i| 1000 + i * 37 % 9000).collect());
        let (_, finish) = whole(&model, request).await;
        let rate = |tokens: u64, time: Duration| tokens as f64 / time.as_secs_f64();
        println!(
            "{prompt} tokens of prompt: prefill {:.0} t/s, decode {:.1} t/s",
            rate(finish.usage.prompt_tokens, finish.timings.prefill),
            rate(finish.usage.completion_tokens, finish.timings.decode)
        );
    }
}
