//! Golden files: requests as they are posted, and transcripts of upstreams as they are understood.
//!
//! `UPDATE_GOLDEN=1` writes what is there now; the difference is then read in review.

use std::path::PathBuf;

use llmo_backends::remote::request::{self, Upstream};
use llmo_backends::remote::response::{Read, Reader};
use llmo_backends::remote::sse::SseParser;
use llmo_core::model::{
    Constraint, DryParams, Event, GenerateRequest, Message, MirostatParams, Prompt, Role, SamplingParams, Tool,
    ToolCall, ToolChoice,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/remote").join(name)
}

fn compare(path: PathBuf, got: &Value) {
    let got = serde_json::to_string_pretty(got).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &got).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, wanted, "{} differs", path.display());
}

fn requests() -> Vec<(&'static str, GenerateRequest, bool)> {
    let conversation =
        vec![Message::system("Be brief."), Message::user("Hi"), Message::assistant("Hello"), Message::user("Bye")];
    let mut sampled = SamplingParams::at_temperature(0.7);
    sampled.top_k = 40;
    sampled.top_p = 0.9;
    sampled.min_p = 0.05;
    sampled.typical_p = 0.95;
    sampled.repetition_penalty = 1.1;
    sampled.frequency_penalty = 0.5;
    sampled.presence_penalty = -0.5;
    sampled.seed = Some(u64::MAX);
    sampled.logit_bias = vec![(50256, -100.0), (7, 1.5)];
    let mut full =
        GenerateRequest::new(Prompt::Chat(conversation)).max_tokens(16).stop("\n").stop("END").sampling(sampled);
    full.logprobs = Some(3);
    full.token_ids = true;
    let mut tokens = GenerateRequest::new(Prompt::Tokens(vec![1, 2, 3]));
    tokens.logprobs = Some(0);
    tokens.token_ids = true;
    let mut extended = GenerateRequest::new(Prompt::Tokens(vec![1, 2, 3])).max_tokens(4);
    extended.sampling = SamplingParams::at_temperature(0.8);
    (extended.sampling.presence_penalty, extended.sampling.penalty_window) = (0.5, 64);
    extended.sampling.dry = Some(DryParams::default());
    let mut mirostat = MirostatParams::default();
    mirostat.mu = Some(7.25);
    extended.sampling.mirostat = Some(mirostat);
    (extended.stop_tokens, extended.prompt_logprobs) = (vec![2], Some(2));
    let mut called = Message::assistant("");
    called.tool_calls.push(ToolCall::new("call_1", "weather", "{\"city\": \"Paris\"}"));
    let mut result = Message::new(Role::Tool, "17");
    result.tool_call_id = Some("call_1".into());
    let mut tools = GenerateRequest::new(Prompt::Chat(vec![Message::user("Hi"), called, result]));
    tools.tools = vec![Tool::new("weather", json!({"type": "object"}))];
    tools.tool_choice = ToolChoice::Named("weather".into());
    tools.parallel_tool_calls = false;
    tools.output_prefix = vec![1, 2];
    let mut schema = GenerateRequest::ask("Hi");
    schema.constraint = Some(Constraint::JsonSchema(json!({"type": "object"})));
    let mut grammar = GenerateRequest::complete("Hi");
    grammar.constraint = Some(Constraint::Gbnf("root ::= \"a\"".into()));
    let mut choice = GenerateRequest::ask("Hi");
    choice.constraint = Some(Constraint::Choice(vec!["a".into(), "b".into()]));
    let neutral = GenerateRequest::ask("Hi").sampling(SamplingParams::at_temperature(1.0));
    vec![
        ("chat_greedy", GenerateRequest::ask("Hi"), true),
        ("chat_everything", full, true),
        ("chat_sampled_with_filters_off", neutral.clone(), true),
        ("chat_for_openai", neutral, false),
        ("text", GenerateRequest::complete("Once upon a time").max_tokens(5), true),
        ("tokens", tokens, true),
        ("tokens_with_every_extension", extended, true),
        ("tools", tools, true),
        ("schema", schema, false),
        ("grammar", grammar, true),
        ("choice", choice, true),
    ]
}

#[test]
fn requests_are_written_as_upstreams_read_them() {
    for (name, request, extensions) in requests() {
        let post = request::generate(&request, Upstream { model: "test-model", extensions }).unwrap();
        let body: Value = serde_json::from_slice(&post.body).unwrap();
        compare(folder("requests").join(format!("{name}.json")), &json!({"path": post.path, "body": body}));
    }
}

/// All events of a transcript, and the finish or the error at its end.
fn understand(transcript: &[u8]) -> Value {
    let mut reader = Reader::new("test-model");
    let mut events = Vec::new();
    for event in SseParser::new(1 << 20).push(transcript).unwrap() {
        match reader.event(&event) {
            Ok(Read::Nothing) => {}
            Ok(Read::Delta(delta)) => events.push(json!(Event::Delta(delta))),
            Ok(Read::Done) => break,
            Err(error) => {
                events.push(json!({"error": {"code": error.code(), "text": error.to_string()}}));
                return Value::Array(events);
            }
        }
    }
    events.push(match reader.finish() {
        Ok(finish) => json!(Event::Finish(finish)),
        Err(error) => json!({"error": {"code": error.code(), "text": error.to_string()}}),
    });
    Value::Array(events)
}

#[test]
fn transcripts_of_upstreams_are_understood() {
    let mut transcripts: Vec<_> =
        std::fs::read_dir(folder("streams")).unwrap().map(|entry| entry.unwrap().path()).collect();
    transcripts.retain(|path| path.extension().is_some_and(|extension| extension == "sse"));
    transcripts.sort();
    assert!(transcripts.len() >= 5);
    for path in transcripts {
        compare(path.with_extension("json"), &understand(&std::fs::read(&path).unwrap()));
    }
}

/// Whatever arrives of a stream is understood or refused, and a part is never taken for the whole.
#[test]
fn a_transcript_cut_anywhere_ends_in_a_finish_only_if_the_upstream_said_why() {
    let transcript = std::fs::read(folder("streams").join("llmo_chat.sse")).unwrap();
    let reason = b"\"finish_reason\":\"stop\"";
    let said = transcript.windows(reason.len()).position(|window| window == reason).unwrap();
    // The event with the reason is read when the empty line behind it has come.
    let read = said + transcript[said..].windows(2).position(|window| window == b"\n\n").unwrap() + 2;
    for length in 0..=transcript.len() {
        let events = understand(&transcript[..length]);
        let finished = events.as_array().unwrap().last().unwrap().get("finish").is_some();
        assert_eq!(finished, length >= read, "after {length} bytes: {events}");
    }
}

proptest! {
    #[test]
    fn a_damaged_transcript_never_panics(place: prop::sample::Index, byte: u8) {
        let mut transcript = std::fs::read(folder("streams").join("llmo_chat.sse")).unwrap();
        let place = place.index(transcript.len());
        transcript[place] = byte;
        let mut reader = Reader::new("test-model");
        for event in SseParser::new(1 << 20).push(&transcript).unwrap_or_default() {
            let _ = reader.event(&event);
        }
        let _ = reader.finish();
    }
}
