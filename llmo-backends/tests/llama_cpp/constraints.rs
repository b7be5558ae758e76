//! Output held to a format.

use std::time::Instant;

use futures::StreamExt;
use llmo_backends::llama_cpp::KvType;
use llmo_core::model::{Constraint, Event, FinishReason, Prompt, SamplingParams};
use llmo_core::{GenerateRequest, Model, ModelError};
use serde_json::{Value, json};

use crate::support::{load, options, run, shared};

fn held(question: &str, constraint: Constraint) -> GenerateRequest {
    let mut request = GenerateRequest::ask(question).max_tokens(200);
    request.constraint = Some(constraint);
    request
}

fn person() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "likes": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 3},
        },
        "required": ["name", "age", "likes"],
        "additionalProperties": false,
    })
}

#[tokio::test]
async fn an_answer_fits_its_schema_greedy_and_at_any_temperature() {
    let model = shared();
    for temperature in [0.0, 1.0, 2.0] {
        let mut request = held("Describe a person.", Constraint::JsonSchema(person()));
        request.sampling = SamplingParams::at_temperature(temperature);
        request.sampling.seed = Some(3);
        let (answer, finish) = run(&model, request).await.unwrap();
        assert_eq!(finish.reason, FinishReason::Stop, "{answer:?}");
        let value: Value = serde_json::from_str(&answer.text).unwrap();
        assert!(value["name"].is_string() && value["age"].as_u64().unwrap() <= 150, "{value}");
        assert!(value.as_object().unwrap().len() == 3 && value["likes"].as_array().unwrap().len() <= 3, "{value}");
    }
}

#[tokio::test]
async fn an_answer_that_must_end_ends_without_a_token_that_says_so() {
    let request = held("Is the sky blue?", Constraint::Choice(vec!["yes".into(), "no".into()]));
    let (answer, finish) = run(&shared(), request).await.unwrap();
    assert!(["yes", "no"].contains(&answer.text.as_str()), "{answer:?}");
    assert_eq!(finish.reason, FinishReason::Stop);
    assert_eq!(finish.usage.completion_tokens, answer.tokens.len() as u64);
}

#[tokio::test]
async fn expressions_and_grammars_hold_too() {
    let model = shared();
    let date = held("When was the moon landing?", Constraint::Regex(r"\d{4}-\d{2}-\d{2}".into()));
    let text = run(&model, date).await.unwrap().0.text;
    assert!(text.len() == 10 && text.split('-').count() == 3, "{text}");
    let grammar = "root ::= item{3}\nitem ::= \"- \" [a-z ]{1,12} \"\\n\"";
    let list = run(&model, held("A shopping list:", Constraint::Gbnf(grammar.into()))).await.unwrap().0.text;
    assert!(list.lines().count() == 3 && list.lines().all(|line| line.starts_with("- ")), "{list:?}");
    let arrows = Constraint::Lark("start: (\"→\" | \"日本\"){4}".into());
    let (answer, finish) = run(&model, held("Symbols:", arrows)).await.unwrap();
    assert_eq!(finish.reason, FinishReason::Stop);
    assert_eq!(answer.text.replace("日本", "→").chars().count(), 4, "{answer:?}");
}

#[tokio::test]
async fn log_probabilities_are_the_model_s_own_not_those_of_the_format() {
    let model = shared();
    let mut request = held("What is the capital of France?", Constraint::Choice(vec!["zebra".into()]));
    request.logprobs = Some(2);
    let (answer, _) = run(&model, request).await.unwrap();
    let first = &answer.logprobs[0];
    // The only token allowed, and the model thinks little of it.
    assert!(first.logprob < -3.0 && first.top[0].logprob > first.logprob, "{first:?}");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_answer_under_a_format() {
    let model = shared();
    let ask = || {
        let mut request = held("Describe a person.", Constraint::JsonSchema(person()));
        request.sampling = SamplingParams::at_temperature(1.5);
        request.sampling.seed = Some(11);
        request
    };
    let alone = run(&model, ask()).await.unwrap().0.text;
    let (a, b) = tokio::join!(run(&model, ask()), run(&model, GenerateRequest::ask("Tell a joke").max_tokens(40)));
    assert_eq!(a.unwrap().0.text, alone);
    b.unwrap();
}

#[tokio::test]
async fn what_cannot_be_compiled_is_refused_and_harms_nobody() {
    let model = shared();
    let mut neighbour = model.generate(GenerateRequest::ask("Tell a long story.").max_tokens(60)).await.unwrap();
    for bad in [
        Constraint::JsonSchema(json!({"$ref": "https://example.com/x.json"})),
        Constraint::JsonSchema(json!({"allOf": [{"$ref": "#"}]})),
        Constraint::Regex("((a{1,1000}){1,1000}){1,1000}".into()),
        Constraint::Gbnf("root ::= ".to_owned() + &"(".repeat(60_000)),
    ] {
        let started = Instant::now();
        let error = model.generate(held("x", bad)).await.expect_err("refused");
        assert!(matches!(&error, ModelError::InvalidRequest { param, .. } if param == "constraint"), "{error}");
        assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    }
    let mut tokens = 0;
    while let Some(event) = neighbour.next().await {
        match event.unwrap() {
            Event::Delta(delta) => tokens += delta.tokens.len(),
            Event::Finish(finish) => assert_eq!(finish.usage.completion_tokens, tokens as u64),
            _ => {}
        }
    }
}

#[tokio::test]
async fn an_output_goes_on_where_another_replica_left_it() {
    // With such a cache logits don't depend on how the tokens before were split into runs: f16 differs in the last bits,
    // and at this temperature that is enough for another draw now and then.
    let mut exact = options();
    (exact.kv_type, exact.flash_attention) = (Some(KvType::Q8_0), Some(true));
    let model = load(exact);
    let mut sampled = SamplingParams::at_temperature(1.2);
    sampled.seed = Some(5);
    sampled.frequency_penalty = 0.7;
    sampled.repetition_penalty = 1.2;
    for constraint in [None, Some(Constraint::JsonSchema(person()))] {
        let mut request = GenerateRequest::ask("Describe a person.").max_tokens(60).sampling(sampled.clone());
        request.constraint = constraint;
        let (whole, end) = run(&model, request.clone()).await.unwrap();
        for cut in [1, whole.tokens.len() / 2, whole.tokens.len() - 1] {
            request.output_prefix = whole.tokens[..cut].to_vec();
            let (rest, finish) = run(&model, request.clone()).await.unwrap();
            assert_eq!(rest.tokens, whole.tokens[cut..], "cut at {cut}");
            assert!(whole.text.ends_with(&rest.text));
            assert_eq!((finish.reason, finish.usage.completion_tokens), (end.reason, end.usage.completion_tokens));
            assert_eq!(finish.usage.prompt_tokens, end.usage.prompt_tokens);
        }
        request.output_prefix = whole.tokens.clone();
        let (rest, finish) = run(&model, request.clone()).await.unwrap();
        if request.constraint.is_some() {
            assert_eq!((rest.text.as_str(), finish.reason), ("", FinishReason::Stop));
        }
    }
    let mut wrong = held("x", Constraint::Choice(vec!["yes".into()]));
    wrong.output_prefix = model.tokenize("no", llmo_core::model::TokenizeOptions::default()).await.unwrap();
    let error = model.generate(wrong).await.expect_err("not what the format allows");
    assert!(error.to_string().contains("output_prefix"), "{error}");
}

#[tokio::test]
async fn a_prompt_of_tokens_can_be_held_as_well() {
    let model = shared();
    let tokens = model.tokenize("The answer is", llmo_core::model::TokenizeOptions::default()).await.unwrap();
    let mut request = GenerateRequest::new(Prompt::Tokens(tokens)).max_tokens(20);
    request.constraint = Some(Constraint::Regex(" [0-9]{3}".into()));
    let text = run(&model, request).await.unwrap().0.text;
    assert!(text.trim().parse::<u32>().is_ok() && text.len() == 4, "{text:?}");
}
