//! The simulator through its public interface. Clocks are paused: nothing here waits.
#![cfg(feature = "sim")]

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use llmo_backends::sim::{Fault, SimModel, SimOptions, SimText};
use llmo_core::conformance::model::{self as conformance, ModelSuite};
use llmo_core::model::{
    EmbedRequest, Event, FinishReason, GenerateRequest, Message, Model, ModelError, Prompt, TokenizeOptions,
};
use tokio::time::Instant;

fn model(set: impl FnOnce(&mut SimOptions)) -> SimModel {
    let mut options = SimOptions::default();
    set(&mut options);
    SimModel::new(options)
}

fn hello() -> GenerateRequest {
    GenerateRequest::ask("hello")
}

/// Lets every other task run until it waits.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_simulator_is_a_model() {
    for text in [SimText::Numbered, SimText::Tagged, SimText::SplitCharacters] {
        let suite = ModelSuite::default().meanings("the cat sat", "a cat sat there", "interest rates rose");
        conformance::check(Arc::new(model(|o| o.text = text)), suite).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_by_itself_or_at_max_tokens() {
    let model = model(|o| o.answer_tokens = 3);
    let (output, finish) = model.generate(hello()).await.unwrap().collect_all().await.unwrap();
    assert_eq!((output.text.as_str(), finish.reason), ("t0 t1 t2 ", FinishReason::Stop));
    let (output, finish) = model.generate(hello().max_tokens(2)).await.unwrap().collect_all().await.unwrap();
    assert_eq!((output.text.as_str(), finish.reason), ("t0 t1 ", FinishReason::Length));
    assert_eq!(finish.usage.completion_tokens, 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_resumed_anywhere_is_the_answer_unbroken() {
    let model = model(|o| {
        o.answer_tokens = 9;
        o.text = SimText::Tagged;
    });
    let prompt = model.tokenize("Once upon a time", TokenizeOptions::with_special()).await.unwrap();
    let ask = |tokens| model.generate(GenerateRequest::new(Prompt::Tokens(tokens)));
    let (whole, _) = ask(prompt.clone()).await.unwrap().collect_all().await.unwrap();
    for sent in 0..=whole.tokens.len() {
        let resumed = [&prompt[..], &whole.tokens[..sent]].concat();
        let (rest, finish) = ask(resumed).await.unwrap().collect_all().await.unwrap();
        assert_eq!(rest.tokens, whole.tokens[sent..]);
        assert_eq!(finish.reason, FinishReason::Stop);
    }
}

#[tokio::test(start_paused = true)]
async fn another_prompt_has_another_answer() {
    let model = model(|o| o.text = SimText::Tagged);
    let mut seen = std::collections::HashSet::new();
    for n in 0..20 {
        let request = GenerateRequest::ask(format!("question {n}")).max_tokens(1);
        seen.insert(model.generate(request).await.unwrap().collect_all().await.unwrap().0.text);
    }
    assert!(seen.len() >= 19, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn characters_split_over_tokens_arrive_whole() {
    let model = model(|o| o.text = SimText::SplitCharacters);
    let mut stream = model.generate(hello().max_tokens(5)).await.unwrap();
    let mut texts = Vec::new();
    while let Some(Ok(Event::Delta(delta))) = stream.next().await {
        texts.push(delta.text);
    }
    assert_eq!(texts[..4], ["", "ż", "", "ż"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_string_ends_the_answer_and_never_shows() {
    let model = model(|_| {});
    let (output, finish) = model.generate(hello().stop("2 t3")).await.unwrap().collect_all().await.unwrap();
    assert_eq!(output.text, "t0 t1 t");
    assert_eq!(finish.stop.as_deref(), Some("2 t3"));
    assert_eq!(finish.usage.completion_tokens, 4);
    assert_eq!(output.tokens.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn speed_is_kept_to_the_millisecond() {
    let model = model(|o| {
        o.prefill_tokens_per_second = 100.0;
        o.decode_tokens_per_second = 10.0;
    });
    let prompt = model.tokenize("0123456789", TokenizeOptions::default()).await.unwrap();
    let start = Instant::now();
    let request = GenerateRequest::new(Prompt::Tokens(prompt)).max_tokens(5);
    let (_, finish) = model.generate(request).await.unwrap().collect_all().await.unwrap();
    let took = start.elapsed();
    // 10 prompt tokens at 100/s, 5 tokens at 10/s; tokio's timer rounds up to the next millisecond.
    assert!(took >= Duration::from_millis(600) && took < Duration::from_millis(620), "{took:?}");
    assert_eq!(finish.timings.prefill, Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn load_tells_slots_queue_and_memory() {
    let model = Arc::new(model(|o| {
        o.slots = 2;
        o.decode_tokens_per_second = 1.0;
    }));
    let first = model.generate(hello()).await.unwrap();
    let second = model.generate(hello()).await.unwrap();
    assert_eq!(model.load().slots_free, 0);
    assert!(model.load().kv_used > 0.0);
    let waiting = tokio::spawn({
        let model = Arc::clone(&model);
        async move { model.generate(hello()).await.map(drop) }
    });
    settle().await;
    assert_eq!(model.load().queued_requests, 1);
    assert!(model.load().queued_tokens >= 5);
    drop(first);
    waiting.await.unwrap().unwrap();
    assert_eq!(model.load().slots_free, 1);
    drop(second);
    assert_eq!(model.load().in_flight(), 0);
    assert_eq!(model.load().kv_used, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let model = Arc::new(model(|o| {
        o.slots = 1;
        o.queue = 1;
        o.retry_after = Duration::from_secs(7);
    }));
    let _running = model.generate(hello()).await.unwrap();
    let waiting = tokio::spawn({
        let model = Arc::clone(&model);
        async move { model.generate(hello()).await.map(drop) }
    });
    settle().await;
    let error = model.generate(hello()).await.unwrap_err();
    assert!(matches!(error, ModelError::Overloaded { retry_after, .. } if retry_after == Duration::from_secs(7)));
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(model.load().queued_requests, 0, "who gives up waiting leaves the queue");
}

#[tokio::test(start_paused = true)]
async fn a_finished_stream_frees_its_slot_before_it_is_dropped() {
    let model = model(|o| o.slots = 1);
    let mut stream = model.generate(hello().max_tokens(1)).await.unwrap();
    while let Some(event) = stream.next().await {
        if matches!(event.unwrap(), Event::Finish(_)) {
            assert_eq!(model.load().slots_free, 1);
            break;
        }
    }
    assert!(stream.next().await.is_none(), "nothing follows the finish");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_kept_in_the_queue_and_while_generating() {
    let model = model(|o| {
        o.slots = 1;
        o.decode_tokens_per_second = 1.0;
    });
    let soon = || hello().deadline_after(Instant::now().into_std(), Duration::from_millis(2500));
    let error = model.generate(soon()).await.unwrap().collect_all().await.unwrap_err();
    assert!(matches!(&error, ModelError::DeadlineExceeded { stage } if stage == "while generating"), "{error}");
    let _running = model.generate(hello()).await.unwrap();
    let error = model.generate(soon()).await.unwrap_err();
    assert!(matches!(&error, ModelError::DeadlineExceeded { stage } if stage == "in the queue"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn bad_requests_are_refused_without_a_slot() {
    let model = model(|o| o.context_length = 100);
    for request in [
        GenerateRequest::new(Prompt::Chat(Vec::new())),
        GenerateRequest::new(Prompt::Tokens(vec![u32::MAX])),
        hello().max_tokens(0),
        hello().stop(""),
        hello().max_tokens(101),
        GenerateRequest::complete("x".repeat(100)),
    ] {
        let error = model.generate(request.clone()).await.unwrap_err();
        let known = matches!(error, ModelError::InvalidRequest { .. } | ModelError::ContextOverflow { .. });
        assert!(known, "{request:?}: {error}");
    }
    assert_eq!(model.load().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn scripted_faults_strike_in_order_and_then_all_is_well() {
    let model = model(|_| {});
    let faults = model.faults();
    faults.next(1, Fault::unavailable());
    faults.next(1, Fault::error_after(2));
    faults.next(1, Fault::EndAfter(1));
    assert!(model.generate(hello()).await.unwrap_err().is_retryable());

    let mut stream = model.generate(hello()).await.unwrap();
    assert!(matches!(stream.next().await, Some(Ok(Event::Delta(_)))));
    assert!(matches!(stream.next().await, Some(Ok(Event::Delta(_)))));
    assert!(matches!(stream.next().await, Some(Err(ModelError::Upstream { started: true, .. }))));
    assert!(stream.next().await.is_none());

    let mut stream = model.generate(hello()).await.unwrap();
    assert!(stream.next().await.is_some());
    assert!(stream.next().await.is_none(), "an end without a finish");
    assert_eq!(model.load().in_flight(), 0);
    assert!(model.generate(hello()).await.unwrap().collect_all().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_hang_lasts_until_the_deadline() {
    let model = model(|_| {});
    model.faults().next(1, Fault::HangAfter(1));
    let request = hello().deadline_after(Instant::now().into_std(), Duration::from_secs(3));
    let mut stream = model.generate(request).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    let hung = Instant::now();
    assert!(matches!(stream.next().await, Some(Err(ModelError::DeadlineExceeded { .. }))));
    assert!(hung.elapsed() >= Duration::from_millis(2900));
}

#[tokio::test(start_paused = true)]
async fn a_death_ends_running_streams_and_refuses_new_ones() {
    let model = model(|o| o.decode_tokens_per_second = 1.0);
    let mut stream = model.generate(hello()).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    model.faults().down(ModelError::unavailable("killed"));
    let struck = Instant::now();
    assert!(stream.next().await.unwrap().is_err());
    assert_eq!(struck.elapsed(), Duration::ZERO);
    assert!(model.generate(hello()).await.is_err());
    model.faults().clear();
    assert!(model.generate(hello()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn slowness_adds_to_every_token() {
    let model = model(|_| {});
    model.faults().next(1, Fault::SlowTokens(Duration::from_millis(500)));
    let start = Instant::now();
    model.generate(hello().max_tokens(4)).await.unwrap().collect_all().await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn a_panic_is_the_requests_own() {
    let model = Arc::new(model(|_| {}));
    model.faults().next(1, Fault::PanicAfter(1));
    let panicking = Arc::clone(&model);
    let result = tokio::spawn(async move { panicking.generate(hello()).await.unwrap().collect_all().await }).await;
    assert!(result.unwrap_err().is_panic());
    assert_eq!(model.load().in_flight(), 0);
    assert!(model.generate(hello()).await.unwrap().collect_all().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn log_probabilities_are_there_when_asked_for() {
    let model = model(|_| {});
    let mut request = hello().max_tokens(2);
    request.logprobs = Some(3);
    let (output, _) = model.generate(request).await.unwrap().collect_all().await.unwrap();
    assert_eq!(output.logprobs.len(), 2);
    for (logprob, token) in output.logprobs.iter().zip(&output.tokens) {
        assert_eq!(logprob.token, *token);
        assert_eq!(logprob.top.len(), 3);
        assert!(logprob.top.is_sorted_by(|a, b| a.logprob >= b.logprob));
    }
}

#[tokio::test(start_paused = true)]
async fn text_survives_the_tokenizer() {
    let model = model(|_| {});
    for text in ["", "plain", "zażółć gęślą jaźń 🦀", "<|end|>"] {
        let tokens = model.tokenize(text, TokenizeOptions::with_special()).await.unwrap();
        assert_eq!(model.detokenize(&tokens).await.unwrap(), text);
    }
    assert!(model.detokenize(&[u32::MAX]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn embeddings_are_unit_vectors_of_the_length_asked_for() {
    let model = model(|_| {});
    let mut request = EmbedRequest::new(["a cat", "a dog"]);
    request.dimensions = Some(8);
    let embeddings = model.embed(request.clone()).await.unwrap();
    assert_eq!(embeddings.vectors.len(), 2);
    for vector in embeddings.vectors {
        assert_eq!(vector.len(), 8);
        assert!((vector.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-4);
    }
    request.dimensions = Some(65);
    assert!(model.embed(request).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn every_role_is_read() {
    let model = model(|o| o.text = SimText::Tagged);
    let chat = vec![Message::system("be brief"), Message::user("hi"), Message::assistant("hello"), Message::user("?")];
    let request = GenerateRequest::new(Prompt::Chat(chat)).max_tokens(1);
    assert!(model.generate(request).await.unwrap().collect_all().await.is_ok());
}
