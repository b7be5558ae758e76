//! What models say becomes answers and streams.

use llmo_core::model::{Delta, Finish, Load, PullProgress, RunningModel, Usage};
use llmo_core::{Embeddings, Event, ModelError, ModelInfo};
use llmo_server::dialect::anthropic::MessageReply;
use llmo_server::dialect::openai::chat::ChatReply;
use llmo_server::dialect::openai::completions::CompletionReply;
use llmo_server::dialect::openai::embeddings::{EmbedAnswer, Encoding};
use llmo_server::dialect::openai::models;
use llmo_server::dialect::openai::responses::{self, ResponseReply};
use llmo_server::dialect::spec::generate;
use llmo_server::dialect::spec::health::{Health, MemoryInfo};
use llmo_server::dialect::{Form, Head, Reply, anthropic, ollama};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{dir, expect, inputs};

/// What models say, and the form in which it was asked for.
#[derive(Deserialize)]
struct Said {
    /// The events of each choice.
    choices: Vec<Vec<Event>>,
    #[serde(default)]
    include_usage: bool,
    #[serde(default)]
    token_ids: bool,
    #[serde(default)]
    logprobs: bool,
    /// Functions were offered.
    #[serde(default)]
    tools: bool,
    #[serde(default)]
    prompt_logprobs: bool,
    #[serde(default)]
    echoes: Vec<String>,
}

impl Said {
    fn form(&self) -> Form {
        let mut form = Form::default();
        form.include_usage = self.include_usage;
        form.token_ids = self.token_ids;
        form.logprobs = self.logprobs;
        form.prompt_logprobs = self.prompt_logprobs;
        form.per_prompt = self.choices.len() / self.echoes.len().max(1);
        form
    }

    /// The whole text and the finish of each choice.
    fn wholes(&self) -> Vec<(Delta, Finish)> {
        let whole = |events: &Vec<Event>| {
            let mut text = Delta::default();
            for event in events {
                match event {
                    Event::Delta(delta) => text.append(delta.clone()),
                    Event::Finish(finish) => return (text, finish.clone()),
                    _ => {}
                }
            }
            panic!("no finish");
        };
        self.choices.iter().map(whole).collect()
    }
}

fn info() -> ModelInfo {
    let mut info = ModelInfo::new("smollm2-135m", "llama.cpp");
    info.family = "llama".into();
    info.context_length = 8192;
    info.vocab_size = 49_152;
    info.parameters = 134_515_008;
    info.digest = Some("0123456789abcdef0123".into());
    info.created = 1_700_000_000;
    info
}

/// A head whose fingerprint does not change with the version of llmo.
fn head() -> Head {
    let mut head = Head::new("req-1", 1_700_000_000, &info());
    head.fingerprint = head.fingerprint.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    head
}

/// The stream of a reply: all choices in step, then the end.
fn stream(reply: &mut impl Reply, said: &Said) -> String {
    let mut events = Vec::new();
    for choice in 0..said.choices.len() {
        events.extend(reply.open(choice));
    }
    for step in 0..said.choices.iter().map(Vec::len).max().unwrap_or_default() {
        for (choice, event) in said.choices.iter().enumerate().filter_map(|(i, events)| Some((i, events.get(step)?))) {
            match event {
                Event::Delta(delta) => events.extend(reply.piece(choice, delta)),
                Event::Finish(finish) => events.push(reply.finish(choice, finish)),
                _ => {}
            }
        }
    }
    let finishes: Vec<Finish> = said.wholes().into_iter().map(|(_, finish)| finish).collect();
    events.extend(reply.close(&finishes));
    events.iter().map(|event| String::from_utf8_lossy(event).into_owned()).collect()
}

fn check<R: Reply>(kind: &str, reply: impl Fn(&Said) -> R) {
    let dir = dir(kind);
    for (name, said) in inputs(&dir, ".events.json") {
        let said: Said = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{name}: {error}"));
        let whole: Value = serde_json::from_slice(&reply(&said).whole(&said.wholes())).unwrap();
        expect(&dir.join(format!("{name}.answer.json")), &format!("{whole:#}\n"));
        expect(&dir.join(format!("{name}.stream.txt")), &stream(&mut reply(&said), &said));
    }
}

#[test]
fn generations_become_chat_answers() {
    check("openai/chat", |said| ChatReply::new(head(), said.form()).with_tools(said.tools));
}

#[test]
fn generations_become_completions() {
    check("openai/completions", |said| CompletionReply::new(head(), said.form(), said.echoes.clone()));
}

#[test]
fn generations_become_responses() {
    let echo =
        || responses::parse(br#"{"input": "Hi", "max_output_tokens": 20, "metadata": {"a": "b"}}"#).unwrap().echo;
    check("openai/responses", |said| ResponseReply::new(head(), said.form(), echo()));
}

#[test]
fn generations_become_anthropic_messages() {
    check("anthropic/messages", |_| MessageReply::new(head()));
}

#[test]
fn generations_become_ollama_answers() {
    check("ollama/chat", |said| ollama::ChatReply::new(&head(), said.form()));
    check("ollama/generate", |said| ollama::GenerateReply::new(&head(), said.form()));
}

#[test]
fn generations_become_plain_answers() {
    let dir = dir("spec/generate");
    for (name, said) in inputs(&dir, ".events.json") {
        let said: Said = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (text, finish) = &said.wholes()[0];
        let answer = generate::answer("smollm2-135m", text, finish);
        expect(&dir.join(format!("{name}.answer.json")), &format!("{answer:#}\n"));
    }
}

#[test]
fn vectors_become_embedding_answers() {
    let vectors = || Embeddings::new(vec![vec![0.6, -0.8], vec![1.0, 0.0]], Usage::new(7, 0));
    for (name, encoding) in [("float", Encoding::Float), ("base64", Encoding::Base64)] {
        let answer = json!(EmbedAnswer::new(vectors(), "minilm-l6", encoding));
        expect(&dir("openai/embeddings").join(format!("{name}.answer.json")), &format!("{answer:#}\n"));
    }
}

#[test]
fn vectors_become_ollama_answers() {
    let mut vectors = Embeddings::new(vec![vec![0.6, -0.8], vec![1.0, 0.0]], Usage::new(7, 0));
    let answer = ollama::embed::answer("minilm-l6", &vectors, 1_234_567);
    expect(&dir("ollama/embed").join("many.answer.json"), &format!("{answer:#}\n"));
    vectors.vectors.truncate(1);
    let answer = ollama::embed::answer_old(&vectors);
    expect(&dir("ollama/embeddings").join("one.answer.json"), &format!("{answer:#}\n"));
}

/// A pull's steps, and how it ended if not well.
#[derive(Deserialize)]
struct Fetched {
    steps: Vec<PullProgress>,
    corrupt: Option<String>,
}

#[test]
fn pulls_are_told_line_by_line() {
    let dir = dir("ollama/pull");
    for (name, fetched) in inputs(&dir, ".steps.json") {
        let fetched: Fetched = serde_json::from_str(&fetched).unwrap_or_else(|error| panic!("{name}: {error}"));
        let corrupt = |reason| ModelError::Corrupt { model: "smollm2-135m".into(), reason };
        let end = match fetched.corrupt.map(corrupt) {
            Some(error) => ollama::error::body(&error.into()),
            None => ollama::pull::success(),
        };
        let lines = fetched.steps.iter().map(ollama::pull::progress).chain([end]);
        let stream: Vec<u8> = lines.flat_map(|value| ollama::line(&value)).collect();
        expect(&dir.join(format!("{name}.stream.txt")), &String::from_utf8(stream).unwrap());
    }
    expect(&dir.join("whole.answer.json"), &format!("{:#}\n", ollama::pull::success()));
}

#[test]
fn counts_of_tokens_are_told() {
    let answer = anthropic::messages::counted(42);
    expect(&dir("anthropic/count").join("plain.answer.json"), &format!("{answer:#}\n"));
}

#[test]
fn models_are_listed() {
    expect(&dir("openai/models").join("list.answer.json"), &format!("{:#}\n", models::list(&[info()])));
    expect(&dir("anthropic/models").join("list.answer.json"), &format!("{:#}\n", anthropic::models::list(&[info()])));
    expect(&dir("ollama/models").join("tags.answer.json"), &format!("{:#}\n", ollama::models::tags(&[info()])));
    expect(&dir("ollama/models").join("show.answer.json"), &format!("{:#}\n", ollama::models::show(&info())));
    let running = RunningModel::new(info(), Load::idle(1)).unwrap();
    expect(&dir("ollama/models").join("ps.answer.json"), &format!("{:#}\n", ollama::models::running(&[running])));
}

#[test]
fn health_is_told() {
    let memory = MemoryInfo::new(16 << 30, 6 << 30);
    let model = || Some("smollm2-135m".to_owned());
    let cases = [
        ("ok", Health::new(Ok(()), model(), memory)),
        ("unavailable", Health::new(Err(vec!["smollm2-135m: loading".into()]), None, memory)),
    ];
    for (name, health) in cases {
        let health: Value = json!(health);
        expect(&dir("spec/health").join(format!("{name}.answer.json")), &format!("{health:#}\n"));
    }
}
