//! What comes out.

use futures::StreamExt;
use llmo_backends::llama_cpp::KvType;
use llmo_core::model::{
    DryParams, Event, FinishReason, Message, MirostatParams, Prompt, SamplingParams, TokenizeOptions,
};
use llmo_core::{GenerateRequest, Model};

use crate::support::{load, options, run, shared};

#[tokio::test]
async fn the_model_knows_the_capital_of_france() {
    let request = GenerateRequest::complete("The capital of France is").max_tokens(4);
    let (answer, finish) = run(&shared(), request).await.unwrap();
    assert!(answer.text.starts_with(" Paris"), "{answer:?}");
    assert!(finish.timings.prefill.as_nanos() > 0 && finish.timings.decode.as_nanos() > 0);
}

#[tokio::test]
async fn a_chat_ends_when_the_model_says_so() {
    let request = GenerateRequest::ask("Say hello.").max_tokens(200);
    let (answer, finish) = run(&shared(), request).await.unwrap();
    assert_eq!((finish.reason, finish.stop), (FinishReason::Stop, None));
    assert_eq!(finish.usage.completion_tokens, answer.tokens.len() as u64);
    assert!(!answer.text.is_empty() && !answer.text.contains("<|im_end|>"), "{answer:?}");
}

#[tokio::test]
async fn max_tokens_ends_with_length_and_counts_what_was_sent() {
    let request = GenerateRequest::complete("Once upon a time").max_tokens(7);
    let (answer, finish) = run(&shared(), request).await.unwrap();
    assert_eq!((answer.tokens.len(), finish.reason, finish.usage.completion_tokens), (7, FinishReason::Length, 7));
}

#[tokio::test]
async fn text_is_the_text_of_the_tokens() {
    let model = shared();
    for prompt in ["Emojis: 😀 🎉 👩‍🚀 😀 🎉 👩‍🚀 😀 🎉", "日本語の文章を書いて: 今日は", "Zażółć gęślą jaźń. Zażółć gęślą"]
    {
        let request = GenerateRequest::complete(prompt).max_tokens(40);
        let (answer, _) = run(&model, request).await.unwrap();
        assert_eq!(model.detokenize(&answer.tokens).await.unwrap(), answer.text);
    }
}

#[tokio::test]
async fn a_character_is_never_split_between_deltas() {
    let model = shared();
    let request = GenerateRequest::complete("😀🎉🚀🌍\n".repeat(8) + "😀").max_tokens(40);
    let mut stream = model.generate(request).await.unwrap();
    let mut incomplete = 0;
    let mut text = String::new();
    while let Some(event) = stream.next().await {
        if let Event::Delta(delta) = event.unwrap() {
            incomplete += usize::from(delta.text.is_empty() && !delta.tokens.is_empty());
            text.push_str(&delta.text);
        }
    }
    assert!(incomplete > 0, "a character of several tokens waits until it is whole: {text:?}");
    assert!(text.contains(['😀', '🎉', '🚀', '🌍']), "{text:?}");
}

#[tokio::test]
async fn a_stop_string_across_tokens_ends_the_output_before_it() {
    let model = shared();
    let whole = run(&model, GenerateRequest::complete("1, 2, 3, 4, 5, 6,").max_tokens(30)).await.unwrap().0.text;
    // From the middle of one token to the middle of another, wherever the tokens are cut.
    let stop: String = whole.chars().skip(6).take(5).collect();
    let before = &whole[..whole.find(&stop).unwrap()];
    let request = GenerateRequest::complete("1, 2, 3, 4, 5, 6,").max_tokens(30).stop(stop.clone());
    let (answer, finish) = run(&model, request).await.unwrap();
    assert_eq!(answer.text, before);
    assert_eq!((finish.reason, finish.stop), (FinishReason::Stop, Some(stop)));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_output() {
    let model = shared();
    let ask = |seed| {
        let mut request = GenerateRequest::ask("Tell me a story").max_tokens(30);
        request.sampling = SamplingParams::at_temperature(1.0);
        request.sampling.seed = Some(seed);
        request
    };
    let first = run(&model, ask(1)).await.unwrap().0;
    assert_eq!(run(&model, ask(1)).await.unwrap().0, first);
    assert_ne!(run(&model, ask(2)).await.unwrap().0, first);
}

#[tokio::test]
async fn a_stream_continues_from_its_prompt_and_tokens_as_if_never_cut() {
    let model = shared();
    for temperature in [0.0, 1.0] {
        let mut request = GenerateRequest::new(Prompt::Tokens(
            model.tokenize("The history of bread begins", Default::default()).await.unwrap(),
        ));
        request.sampling.temperature = temperature;
        request.sampling.seed = Some(5);
        let whole = run(&model, request.clone().max_tokens(24)).await.unwrap().0.tokens;
        let Prompt::Tokens(prompt) = request.prompt.clone() else { unreachable!() };
        request.prompt = Prompt::Tokens(prompt.into_iter().chain(whole[..10].iter().copied()).collect());
        let rest = run(&model, request.max_tokens(14)).await.unwrap().0.tokens;
        assert_eq!(rest, whole[10..]);
    }
}

#[tokio::test]
async fn logprobs_tell_the_model_s_own_distribution() {
    let model = shared();
    let mut request = GenerateRequest::complete("The capital of France is").max_tokens(3);
    request.logprobs = Some(5);
    let greedy = run(&model, request.clone()).await.unwrap().0;
    assert_eq!(greedy.logprobs.len(), 3);
    for (token, report) in greedy.tokens.iter().zip(&greedy.logprobs) {
        assert_eq!((report.token, report.top.len()), (*token, 5));
        assert_eq!(report.top[0].token, *token, "greedy takes the likeliest");
        assert_eq!(report.logprob, report.top[0].logprob);
        assert!(report.logprob < 0.0 && report.top.windows(2).all(|w| w[0].logprob >= w[1].logprob));
    }
    // Temperature and bias change what is drawn, not what is reported.
    request.sampling.logit_bias = vec![(greedy.tokens[0], -50.0)];
    let biased = run(&model, request).await.unwrap().0;
    assert_ne!(biased.tokens[0], greedy.tokens[0]);
    assert!((biased.logprobs[0].top[0].logprob - greedy.logprobs[0].logprob).abs() < 0.01);
}

#[tokio::test]
async fn a_conversation_s_second_turn_reuses_the_first() {
    let mut options = options();
    // With 16 bits and tiles, what a short prompt computed is not what a longer one would.
    options.kv_type = Some(KvType::Q8_0);
    let model = load(options);
    let first = vec![Message::system("Talk like a sailor of Gdynia."), Message::user("Name a fruit.")];
    let request = |messages: &[Message]| GenerateRequest::new(Prompt::Chat(messages.to_vec())).max_tokens(20);
    let (answer, finish) = run(&model, request(&first)).await.unwrap();
    let turns = [first, vec![Message::assistant(answer.text), Message::user("And another one.")]].concat();
    let (_, second) = run(&model, request(&turns)).await.unwrap();
    assert!(second.usage.cached_tokens >= finish.usage.prompt_tokens - 1, "{second:?}");
}

#[tokio::test]
async fn the_prompt_s_own_log_probabilities_are_those_of_its_continuation() {
    let model = shared();
    let prompt = model.tokenize("The capital of France is", TokenizeOptions::default()).await.unwrap();
    let mut request = GenerateRequest::new(Prompt::Tokens(prompt.clone())).max_tokens(12);
    request.logprobs = Some(3);
    let told = run(&model, request).await.unwrap().0;
    assert!(told.prompt.is_empty(), "nobody asked");
    // What was generated is the end of a prompt now, and long enough for several runs.
    let whole: Vec<_> = prompt.iter().chain(&told.tokens).copied().collect();
    let mut scored = GenerateRequest::new(Prompt::Tokens(whole.clone())).max_tokens(0);
    scored.prompt_logprobs = Some(3);
    let (score, finish) = run(&model, scored).await.unwrap();
    assert_eq!((finish.reason, finish.usage.completion_tokens), (FinishReason::Length, 0));
    assert_eq!(score.prompt.iter().map(|entry| entry.token).collect::<Vec<_>>(), whole);
    assert_eq!((score.prompt[0].logprob, score.prompt[0].top.len()), (None, 0));
    let generated = score.prompt[prompt.len()..].iter().zip(&told.logprobs);
    for (entry, report) in generated {
        assert_eq!(entry.bytes, report.bytes);
        assert!((entry.logprob.unwrap() - report.logprob).abs() < 0.05, "{entry:?}, not {report:?}");
        assert_eq!(entry.top.len(), 3);
    }
    // A prompt of several runs, with an answer after it; the same prompt is in the cache by then.
    let long =
        model.tokenize(&"All work and no play makes Jack a dull boy. ".repeat(20), Default::default()).await.unwrap();
    for _ in 0..2 {
        let mut request = GenerateRequest::new(Prompt::Tokens(long.clone())).max_tokens(2);
        request.prompt_logprobs = Some(0);
        let (answer, finish) = run(&model, request).await.unwrap();
        assert_eq!((answer.prompt.len(), answer.tokens.len()), (long.len(), 2));
        assert_eq!(finish.usage.cached_tokens, 0);
        assert!(answer.prompt[1..].iter().all(|entry| entry.logprob.is_some_and(|logprob| logprob < 0.0)));
        let late = answer.prompt[150..].iter().filter_map(|entry| entry.logprob).sum::<f32>();
        assert!(late / (long.len() - 150) as f32 > -0.2, "repetitions are foreseen");
    }
}

/// Everything that looks back, and mirostat, for a stream that is cut.
fn that_look_back() -> Vec<SamplingParams> {
    let mut penalised = SamplingParams::at_temperature(0.9);
    (penalised.frequency_penalty, penalised.repetition_penalty, penalised.penalty_window) = (0.5, 1.1, 16);
    penalised.dry = Some(DryParams::default());
    let mirostat = |version| {
        let mut params = SamplingParams::at_temperature(0.9);
        let mut mirostat = MirostatParams::default();
        (mirostat.version, mirostat.tau) = (version, 3.0);
        params.mirostat = Some(mirostat);
        params
    };
    vec![penalised, mirostat(1), mirostat(2)]
}

#[tokio::test]
async fn a_stream_that_is_cut_goes_on_exactly_whatever_the_sampler() {
    let model = shared();
    let prompt = model.tokenize("One two three, one two three, one", TokenizeOptions::default()).await.unwrap();
    for mut sampling in that_look_back() {
        sampling.seed = Some(11);
        let mut request = GenerateRequest::new(Prompt::Tokens(prompt.clone())).sampling(sampling).stop("zzzz");
        let mut stream = model.generate(request.clone().max_tokens(20)).await.unwrap();
        let mut deltas = Vec::new();
        while let Some(event) = stream.next().await {
            if let Event::Delta(delta) = event.unwrap() {
                deltas.push(delta);
            }
        }
        let tokens: Vec<_> = deltas.iter().flat_map(|delta| delta.tokens.clone()).collect();
        let cut = 8;
        request.output_prefix = tokens[..cut].to_vec();
        if let Some(mirostat) = &mut request.sampling.mirostat {
            mirostat.mu = deltas[cut - 1].mirostat_mu;
            assert!(mirostat.mu.is_some());
        }
        let rest = run(&model, request.max_tokens(tokens.len() as u32)).await.unwrap().0;
        assert_eq!(rest.tokens, tokens[cut..]);
        let text: String = deltas[cut..].iter().map(|delta| delta.text.as_str()).collect();
        assert_eq!(rest.text, text);
    }
}

#[tokio::test]
async fn a_seed_gives_the_same_output_whatever_else_is_in_the_batch() {
    let model = shared();
    let ask = |seed: u64, sampling: &SamplingParams| {
        let mut request = GenerateRequest::complete("Once upon a time").max_tokens(16).sampling(sampling.clone());
        request.sampling.seed = Some(seed);
        request
    };
    for sampling in that_look_back() {
        let alone = run(&model, ask(1, &sampling)).await.unwrap().0.tokens;
        let others = (2..6).map(|seed| run(&model, ask(seed, &sampling)));
        let (together, _) = futures::join!(run(&model, ask(1, &sampling)), futures::future::join_all(others));
        assert_eq!(together.unwrap().0.tokens, alone);
    }
}

#[tokio::test]
async fn a_stop_token_ends_the_output_before_it() {
    let model = shared();
    let whole = run(&model, GenerateRequest::complete("1, 2, 3, 4, 5, 6,").max_tokens(12)).await.unwrap().0.tokens;
    let mut request = GenerateRequest::complete("1, 2, 3, 4, 5, 6,").max_tokens(12);
    let stop = whole[5];
    request.stop_tokens = vec![stop];
    let (answer, finish) = run(&model, request.clone()).await.unwrap();
    let until = whole.iter().position(|token| *token == stop).unwrap();
    assert_eq!((&answer.tokens[..], finish.reason), (&whole[..until], FinishReason::Stop));
    request.stop_tokens = vec![u32::MAX];
    let refused = run(&model, request).await.unwrap_err().to_string();
    assert!(refused.contains("stop_token_ids") && refused.contains(&u32::MAX.to_string()), "{refused}");
}
