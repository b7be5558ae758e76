//! What clients send becomes a call.

use llmo_server::dialect::{Dialect, openai, spec};
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
