//! Functions offered to a model that was taught none.

use futures::StreamExt;
use llmo_core::model::{Delta, Event, FinishReason, Message, Prompt, Role, SamplingParams, Tool, ToolCall, ToolChoice};
use llmo_core::{GenerateRequest, Model, ModelError};
use serde_json::{Value, json};

use crate::support::{run, shared};

fn weather() -> Tool {
    let parameters = json!({
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 30}, "unit": {"enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
        "additionalProperties": false,
    });
    let mut tool = Tool::new("get_weather", parameters);
    tool.description = Some("The weather in a city.".into());
    tool
}

fn offered(choice: ToolChoice) -> GenerateRequest {
    let mut request = GenerateRequest::ask("What is the weather in Paris?").max_tokens(120);
    request.tools = vec![weather(), Tool::new("get_time", json!({"type": "object", "properties": {}}))];
    request.tool_choice = choice;
    request
}

/// The calls of an answer: id, name, arguments.
fn calls(answer: &Delta) -> Vec<ToolCall> {
    let mut calls: Vec<ToolCall> = Vec::new();
    for piece in &answer.tool_calls {
        if let (Some(id), Some(name)) = (&piece.id, &piece.name) {
            calls.push(ToolCall::new(id, name, ""));
        }
        calls[piece.index as usize].arguments.push_str(&piece.arguments);
    }
    calls
}

#[tokio::test]
async fn a_call_that_must_be_made_is_made_and_fits_its_schema() {
    let model = shared();
    for (choice, temperature) in [
        (ToolChoice::Required, 0.0),
        (ToolChoice::Named("get_weather".into()), 0.0),
        (ToolChoice::Named("get_weather".into()), 1.5),
    ] {
        let mut request = offered(choice.clone());
        request.sampling = SamplingParams::at_temperature(temperature);
        request.sampling.seed = Some(1);
        let (answer, finish) = run(&model, request).await.unwrap();
        let calls = calls(&answer);
        assert_eq!((answer.text.as_str(), finish.reason), ("", FinishReason::ToolCalls), "{answer:?}");
        let arguments: Value = serde_json::from_str(&calls[0].arguments).unwrap();
        assert!(calls[0].id.starts_with("call_"));
        if choice != ToolChoice::Required {
            assert_eq!(calls[0].name, "get_weather");
        }
        if calls[0].name == "get_weather" {
            assert!(arguments["city"].is_string(), "{arguments}");
            assert!(["celsius", "fahrenheit"].contains(&arguments["unit"].as_str().unwrap()), "{arguments}");
        }
    }
}

#[tokio::test]
async fn a_call_comes_piece_by_piece() {
    let mut stream = shared().generate(offered(ToolChoice::Named("get_weather".into()))).await.unwrap();
    let mut pieces = Vec::new();
    let mut tokens = 0;
    while let Some(event) = stream.next().await {
        match event.unwrap() {
            Event::Delta(delta) => {
                tokens += delta.tokens.len() as u64;
                pieces.extend(delta.tool_calls);
            }
            Event::Finish(finish) => assert_eq!(finish.usage.completion_tokens, tokens),
            _ => {}
        }
    }
    assert!(pieces[0].id.is_some() && pieces[0].name.is_some() && pieces[0].arguments.is_empty(), "{pieces:?}");
    assert!(pieces.len() > 3 && pieces[1..].iter().all(|piece| piece.id.is_none()), "{pieces:?}");
}

#[tokio::test]
async fn a_model_that_may_call_either_calls_or_answers() {
    let (answer, finish) = run(&shared(), offered(ToolChoice::Auto)).await.unwrap();
    match finish.reason {
        FinishReason::ToolCalls => {
            let call = &calls(&answer)[0];
            assert!(serde_json::from_str::<Value>(&call.arguments).unwrap().is_object());
        }
        _ => assert!(!answer.text.is_empty() && !answer.text.contains("response\""), "{answer:?}"),
    }
    let (answer, _) = run(&shared(), offered(ToolChoice::None)).await.unwrap();
    assert!(answer.tool_calls.is_empty() && !answer.text.is_empty(), "{answer:?}");
}

#[tokio::test]
async fn a_conversation_with_results_goes_on() {
    let mut request = offered(ToolChoice::None);
    let mut called = Message::assistant("");
    called.tool_calls.push(ToolCall::new("call_1", "get_weather", "{\"city\": \"Paris\"}"));
    let mut result = Message::new(Role::Tool, "17 degrees, sunny");
    result.tool_call_id = Some("call_1".into());
    result.name = Some("get_weather".into());
    request.prompt = Prompt::Chat(vec![Message::user("What is the weather in Paris?"), called, result]);
    let text = shared().render(request.clone()).await.unwrap();
    assert!(text.contains("17 degrees, sunny") && text.contains("\"city\":\"Paris\""), "{text}");
    let (answer, _) = run(&shared(), request).await.unwrap();
    assert!(!answer.text.is_empty());
}

#[tokio::test]
async fn control_tokens_in_functions_and_results_are_text() {
    let model = shared();
    let marker = "<|im_end|>";
    let count = async |text: &str| {
        let mut options = llmo_core::model::TokenizeOptions::default();
        options.parse_special = true;
        let end = model.tokenize(marker, options).await.unwrap();
        assert_eq!(end.len(), 1);
        let mut request = offered(ToolChoice::Auto);
        request.tools[0].description = Some(text.into());
        request.tools[0].parameters["properties"][text] = json!({"description": text});
        let mut called = Message::assistant("");
        called.tool_calls.push(ToolCall::new("call_1", "get_weather", json!({"city": text}).to_string()));
        let mut result = Message::new(Role::Tool, text);
        result.tool_call_id = Some("call_1".into());
        request.prompt = Prompt::Chat(vec![Message::user("x"), called, result]);
        request.max_tokens = Some(1);
        let rendered = model.render(request.clone()).await.unwrap();
        let (_, finish) = run(&model, request).await.unwrap();
        (rendered.matches(marker).count(), finish.usage.prompt_tokens)
    };
    let (markers, bombs) = count(marker).await;
    let (others, plain) = count("<|im_xxx|>").await;
    // As many markers more as the user wrote; each is several tokens, like any other text.
    assert_eq!(markers - others, 5, "all of them are there");
    assert!(bombs + 5 > plain, "{bombs} tokens against {plain}: markers became control tokens");
}

#[tokio::test]
async fn a_text_can_be_rendered_without_generating() {
    let text = shared().render(GenerateRequest::ask("Hi <|im_end|>")).await.unwrap();
    assert!(text.ends_with("<|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n"), "{text}");
}

#[tokio::test]
async fn functions_that_cannot_be_offered_are_refused_by_name() {
    let model = shared();
    let refused = async |change: fn(&mut GenerateRequest), name: &str| {
        let mut request = offered(ToolChoice::Required);
        change(&mut request);
        let error = model.generate(request).await.expect_err(name);
        assert!(
            matches!(&error, ModelError::InvalidRequest { param, .. } if param.starts_with(name)),
            "{name}: {error}"
        );
    };
    refused(|r| r.tools[0].parameters = json!({"$ref": "http://x/y"}), "tools[0]").await;
    refused(|r| r.tools[0].parameters = json!({"type": "object", "properties": {"a": {"type": "?"}}}), "tools").await;
    refused(|r| r.tools.clear(), "tool_choice").await;
    refused(|r| r.tool_choice = ToolChoice::Named("x".into()), "tool_choice").await;
    refused(|r| r.prompt = Prompt::Text("x".into()), "tools").await;
}
