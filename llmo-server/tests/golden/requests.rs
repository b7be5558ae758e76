//! What clients send becomes a call.

use llmo_server::dialect::{Dialect, anthropic, ollama, openai, spec};
use llmo_server::fault::Fault;

use super::{dir, expect, inputs};

/// Translates all requests of a directory.
fn check<T: std::fmt::Debug>(kind: &str, dialect: Dialect, parse: impl Fn(&[u8]) -> Result<T, Fault>) {
    let dir = dir(kind);
    for (name, request) in inputs(&dir, ".request.json") {
        let actual = match parse(request.as_bytes()) {
            Ok(call) => format!("{call:#?}\n"),
            Err(fault) => format!("{} {:#}\n", fault.status().as_u16(), dialect.error_body(&fault)),
        };
        expect(&dir.join(format!("{name}.core.txt")), &actual);
    }
}

#[test]
fn chat_requests_become_generations() {
    check("openai/chat", Dialect::OpenAi, openai::chat::parse);
}

#[test]
fn completion_requests_become_generations() {
    check("openai/completions", Dialect::OpenAi, openai::completions::parse);
}

#[test]
fn embedding_requests_become_embeddings() {
    check("openai/embeddings", Dialect::OpenAi, openai::embeddings::parse);
}

#[test]
fn tokenize_requests_are_read() {
    check("openai/tokenize", Dialect::OpenAi, openai::tokens::parse_tokenize);
    check("openai/detokenize", Dialect::OpenAi, openai::tokens::parse_detokenize);
}

#[test]
fn plain_requests_become_generations() {
    check("spec/generate", Dialect::Spec, spec::generate::parse);
}

#[test]
fn responses_requests_become_generations() {
    check("openai/responses", Dialect::OpenAi, openai::responses::parse);
}

#[test]
fn anthropic_requests_become_generations() {
    check("anthropic/messages", Dialect::Anthropic, anthropic::messages::parse);
    check("anthropic/count", Dialect::Anthropic, anthropic::messages::parse_count);
}

#[test]
fn ollama_requests_become_generations() {
    check("ollama/chat", Dialect::Ollama, ollama::chat::parse);
    check("ollama/generate", Dialect::Ollama, ollama::generate::parse);
}

#[test]
fn ollama_requests_for_vectors_and_models_are_read() {
    check("ollama/embed", Dialect::Ollama, ollama::embed::parse);
    check("ollama/embeddings", Dialect::Ollama, ollama::embed::parse_old);
    check("ollama/pull", Dialect::Ollama, ollama::pull::parse);
}
