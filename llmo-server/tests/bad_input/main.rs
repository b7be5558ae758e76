//! One table of everything that clients get wrong: each row is a clear error of its dialect, and leaves the process
//! alive and the next good request unharmed.
#![allow(missing_docs, clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod dialect_rows;
#[path = "../support/mod.rs"]
mod support;

use llmo_backends::sim::SimOptions;
use llmo_server::frontend::FrontendOptions;
use llmo_server::http::ServeOptions;
use serde_json::{Value, json};
use support::sim::Sim;
use support::{Raw, status};

/// A request that is wrong, and what must be said of it.
struct Row {
    name: &'static str,
    method: &'static str,
    path: String,
    headers: &'static str,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
    /// Every one of these stands in the message.
    says: Vec<&'static str>,
}

fn row(name: &'static str, path: &str, body: impl Into<Vec<u8>>, status: u16, code: &'static str) -> Row {
    let headers = "content-type: application/json\r\n";
    Row { name, method: "POST", path: path.to_owned(), headers, body: body.into(), status, code, says: Vec::new() }
}

impl Row {
    fn says(mut self, words: &[&'static str]) -> Self {
        self.says.extend(words);
        self
    }

    fn headers(mut self, headers: &'static str) -> Self {
        self.headers = headers;
        self
    }

    fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let head = format!(
            "{} {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}content-length: {}\r\n\r\n",
            self.method,
            self.path,
            self.headers,
            self.body.len()
        );
        [head.as_bytes(), &self.body].concat()
    }
}

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";
const EMBED: &str = "/v1/embeddings";
const PLAIN: &str = "/api/generate";

/// A chat request with one more field, written as it stands.
fn chat(field: &str) -> String {
    format!(r#"{{"messages": [{{"role": "user", "content": "hi"}}], {field}}}"#)
}

fn messages(messages: &str) -> String {
    format!(r#"{{"messages": {messages}}}"#)
}

fn plain(field: &str) -> String {
    format!(r#"{{"prompt": "hi", {field}}}"#)
}

fn parameter_rows() -> Vec<Row> {
    let cases: [(&'static str, &'static str, &'static str); 38] = [
        ("temperature is a word", r#""temperature": "hot""#, "temperature"),
        ("temperature is NaN", r#""temperature": NaN"#, "temperature"),
        ("temperature is infinite", r#""temperature": Infinity"#, "temperature"),
        ("temperature is 1e400", r#""temperature": 1e400"#, "temperature"),
        ("temperature is 1e39, too much for f32", r#""temperature": 1e39"#, "temperature"),
        ("temperature is negative", r#""temperature": -0.1"#, "temperature"),
        ("temperature is 2.5", r#""temperature": 2.5"#, "temperature"),
        ("top_p is 0", r#""top_p": 0"#, "top_p"),
        ("top_p is 1.1", r#""top_p": 1.1"#, "top_p"),
        ("top_k is -2", r#""top_k": -2"#, "top_k"),
        ("min_p is negative", r#""min_p": -1"#, "min_p"),
        ("typical_p is 0", r#""typical_p": 0"#, "typical_p"),
        ("repetition_penalty is 0", r#""repetition_penalty": 0"#, "repetition_penalty"),
        ("frequency_penalty is 3", r#""frequency_penalty": 3"#, "frequency_penalty"),
        ("presence_penalty is -3", r#""presence_penalty": -3"#, "presence_penalty"),
        ("max_tokens is 0", r#""max_tokens": 0"#, "max_tokens"),
        ("max_tokens is negative", r#""max_tokens": -1"#, "max_tokens"),
        ("max_tokens is 2^64+1", r#""max_tokens": 18446744073709551617"#, "max_tokens"),
        ("max_tokens is a fraction", r#""max_tokens": 1.5"#, "max_tokens"),
        ("max_tokens is a list", r#""max_tokens": [1]"#, "max_tokens"),
        ("max_completion_tokens is negative", r#""max_completion_tokens": -1"#, "max_completion_tokens"),
        ("seed is 2^64+1", r#""seed": 18446744073709551617"#, "seed"),
        ("seed is a word", r#""seed": "x""#, "seed"),
        ("n is 0", r#""n": 0"#, "n"),
        ("n is 17", r#""n": 17"#, "n"),
        ("n is negative", r#""n": -1"#, "n"),
        ("17 stops", r#""stop": ["a","b","c","d","e","f","g","h","i","j","k","l","m","n","o","p","q"]"#, "stop"),
        ("an empty stop", r#""stop": ["a", ""]"#, "stop"),
        ("a stop is a number", r#""stop": [1]"#, "stop"),
        ("stream is a word", r#""stream": "yes""#, "stream"),
        ("logprobs is a number", r#""logprobs": 3"#, "logprobs"),
        ("top_logprobs is 21", r#""logprobs": true, "top_logprobs": 21"#, "top_logprobs"),
        ("top_logprobs alone", r#""top_logprobs": 2"#, "top_logprobs"),
        ("logit_bias has a key that is no token", r#""logit_bias": {"x": 1}"#, "logit_bias"),
        ("logit_bias is 101", r#""logit_bias": {"1": 101}"#, "logit_bias"),
        ("logit_bias is a list", r#""logit_bias": [1]"#, "logit_bias"),
        ("model is a number", r#""model": 1"#, "model"),
        ("a field twice", r#""seed": 1, "seed": 2"#, "seed"),
    ];
    cases.map(|(name, field, param)| row(name, CHAT, chat(field), 400, "invalid_request").says(&[param])).into()
}

/// Parameters of llama-server and vLLM.
fn extension_rows() -> Vec<Row> {
    let cases = [
        ("dry_multiplier is negative", r#""dry_multiplier": -1"#, "dry_multiplier"),
        ("dry_multiplier is 101", r#""dry_multiplier": 101"#, "dry_multiplier"),
        ("dry_multiplier is 1e400", r#""dry_multiplier": 1e400"#, "dry_multiplier"),
        ("dry_multiplier is NaN", r#""dry_multiplier": NaN"#, "dry_multiplier"),
        ("dry_multiplier is a word", r#""dry_multiplier": "x""#, "dry_multiplier"),
        ("dry_base is 0.5", r#""dry_multiplier": 1, "dry_base": 0.5"#, "dry_base"),
        ("dry_base is 1e30", r#""dry_multiplier": 1, "dry_base": 1e30"#, "dry_base"),
        ("dry_allowed_length is 0", r#""dry_multiplier": 1, "dry_allowed_length": 0"#, "dry_allowed_length"),
        ("dry_allowed_length is negative", r#""dry_multiplier": 1, "dry_allowed_length": -1"#, "dry_allowed_length"),
        ("dry_allowed_length is 2^32", r#""dry_allowed_length": 4294967296"#, "dry_allowed_length"),
        ("dry_penalty_last_n is -2", r#""dry_multiplier": 1, "dry_penalty_last_n": -2"#, "dry_penalty_last_n"),
        ("dry_penalty_last_n is 2^64", r#""dry_penalty_last_n": 18446744073709551616"#, "dry_penalty_last_n"),
        ("an empty breaker", r#""dry_multiplier": 1, "dry_sequence_breakers": [""]"#, "dry_sequence_breakers"),
        ("a breaker is a number", r#""dry_sequence_breakers": [1]"#, "dry_sequence_breakers"),
        ("mirostat is 3", r#""mirostat": 3"#, "mirostat"),
        ("mirostat is 258", r#""mirostat": 258"#, "mirostat"),
        ("mirostat is negative", r#""mirostat": -1"#, "mirostat"),
        ("mirostat is a word", r#""mirostat": "2""#, "mirostat"),
        ("mirostat_tau is 0", r#""mirostat": 2, "mirostat_tau": 0"#, "mirostat_tau"),
        ("mirostat_tau is 1e30", r#""mirostat": 2, "mirostat_tau": 1e30"#, "mirostat_tau"),
        ("mirostat_eta is -1", r#""mirostat": 2, "mirostat_eta": -1"#, "mirostat_eta"),
        ("mirostat_eta is 2", r#""mirostat": 1, "mirostat_eta": 2"#, "mirostat_eta"),
        ("mirostat_mu is 1e400", r#""mirostat": 1, "mirostat_mu": 1e400"#, "mirostat_mu"),
        ("repeat_penalty is 0", r#""repeat_penalty": 0"#, "repeat_penalty"),
        ("repeat_penalty is -1", r#""repeat_penalty": -1"#, "repeat_penalty"),
        ("repeat_penalty is 1e30", r#""repeat_penalty": 1e30"#, "repeat_penalty"),
        ("two repetition penalties", r#""repeat_penalty": 1.1, "repetition_penalty": 1.2"#, "repeat_penalty"),
        ("repeat_last_n is -2", r#""repeat_last_n": -2"#, "repeat_last_n"),
        ("repeat_last_n is 2^63", r#""repeat_last_n": 9223372036854775808"#, "repeat_last_n"),
        ("typical_p is -1", r#""typical_p": -1"#, "typical_p"),
        ("min_p is 1e30", r#""min_p": 1e30"#, "min_p"),
        ("a biased token outside the vocabulary", r#""logit_bias": {"4000000000": 1}"#, "4000000000"),
        ("a stop token outside the vocabulary", r#""stop_token_ids": [4000000000]"#, "4000000000"),
        ("a stop token is negative", r#""stop_token_ids": [-1]"#, "stop_token_ids"),
        ("stop_token_ids is a number", r#""stop_token_ids": 1"#, "stop_token_ids"),
        ("n of millions", r#""n": 5000000"#, "n"),
        ("n is 2^32", r#""n": 4294967296"#, "n"),
    ];
    let unsupported = [
        ("xtc", r#""xtc_probability": 0.5"#, "xtc_probability"),
        ("top_n_sigma", r#""top_n_sigma": 1"#, "top_n_sigma"),
        ("dynatemp", r#""dynatemp_range": 0.5"#, "dynatemp_range"),
        ("min_tokens", r#""min_tokens": 5"#, "min_tokens"),
        ("ignore_eos", r#""ignore_eos": true"#, "ignore_eos"),
        ("beam search", r#""use_beam_search": true"#, "use_beam_search"),
        ("the prompt's log probabilities in a chat", r#""prompt_logprobs": 1"#, "prompt_logprobs"),
        ("arguments for a template", r#""chat_template_kwargs": {"x": 1}"#, "chat_template_kwargs"),
    ];
    let many = |what: &str, count: usize| format!("\"{what}\": {}", json!(vec!["x"; count]));
    let tokens = |count: usize| format!("\"stop_token_ids\": {}", json!(vec![1; count]));
    let bad =
        |name, field: &str, says: &'static str| row(name, CHAT, chat(field), 400, "invalid_request").says(&[says]);
    let mut rows: Vec<Row> = cases.map(|(name, field, says)| bad(name, field, says)).into();
    rows.extend(unsupported.map(|(name, field, says)| row(name, CHAT, chat(field), 400, "unsupported").says(&[says])));
    rows.push(bad("thousands of stops", &many("stop", 5_000), "stop"));
    rows.push(bad("thousands of stop tokens", &tokens(5_000), "stop_token_ids"));
    rows.push(bad(
        "17 breakers",
        &("\"dry_multiplier\": 1, ".to_owned() + &many("dry_sequence_breakers", 17)),
        "breakers",
    ));
    rows.push(bad("a stop of a megabyte", &format!("\"stop\": {:?}", "x".repeat(1 << 20)), "stop"));
    rows
}

fn constraint_rows() -> Vec<Row> {
    let function = r#"{"type": "function", "function": {"name": "f"}}"#;
    // What the simulator can't do is refused by the field that asks for it.
    let unsupported = [
        ("a required tool", format!(r#""tools": [{function}], "tool_choice": "required""#), "tool_choice"),
        ("JSON output", r#""response_format": {"type": "json_object"}"#.to_owned(), "response_format"),
        ("a grammar", r#""grammar": "root ::= \"a\"""#.to_owned(), "grammar"),
        ("a regex", r#""guided_regex": "a+""#.to_owned(), "guided_regex"),
        ("structured output", r#""structured_outputs": {"choice": ["a"]}"#.to_owned(), "structured_outputs"),
        ("a template of the client's", r#""chat_template": "{% for x in y %}""#.to_owned(), "chat_template"),
        ("arguments for the template", r#""chat_template_kwargs": {"x": 1}"#.to_owned(), "chat_template_kwargs"),
        ("old functions", r#""functions": [{"name": "f"}]"#.to_owned(), "functions"),
        ("another kind of tool", r#""tools": [{"type": "web_search"}]"#.to_owned(), "tools[0].type"),
    ];
    let invalid = [
        ("a schema without one", r#""response_format": {"type": "json_schema", "json_schema": {}}"#, "schema"),
        ("an unknown format", r#""response_format": {"type": "yaml"}"#, "response_format.type"),
        ("two constraints", r#""guided_regex": "a", "guided_choice": ["a"]"#, "guided_choice"),
        ("tools is a word", r#""tools": "f""#, "tools"),
        ("a tool without a function", r#""tools": [{"type": "function"}]"#, "tools[0].function"),
        ("a bad name", r#""tools": [{"function": {"name": "a b"}}]"#, "tools[0].function.name"),
        ("parameters is a list", r#""tools": [{"function": {"name": "f", "parameters": []}}]"#, "parameters"),
        (
            "one function twice",
            r#""tools": [{"function": {"name": "f"}}, {"function": {"name": "f"}}]"#,
            "two functions",
        ),
        ("a required tool of none", r#""tool_choice": "required""#, "tool_choice"),
        ("an unknown tool", r#""tool_choice": {"type": "function", "function": {"name": "f"}}"#, "tool_choice"),
        ("an unknown choice", r#""tool_choice": "maybe""#, "tool_choice"),
    ];
    let rows = unsupported.map(|(name, field, param)| row(name, CHAT, chat(&field), 400, "unsupported").says(&[param]));
    let rows = rows.into_iter();
    rows.chain(invalid.map(|(name, field, param)| row(name, CHAT, chat(field), 400, "invalid_request").says(&[param])))
        .collect()
}

fn message_rows() -> Vec<Row> {
    let bad =
        |name, list: &str, says: &'static str| row(name, CHAT, messages(list), 400, "invalid_request").says(&[says]);
    vec![
        row("no messages at all", CHAT, "{}", 400, "invalid_request").says(&["messages"]),
        bad("empty messages", "[]", "at least one message"),
        bad("messages is an object", "{}", "messages"),
        bad("an unknown role", r#"[{"role": "wizard", "content": "x"}]"#, "messages[0].role"),
        bad("no role", r#"[{"content": "x"}]"#, "role"),
        bad("no content", r#"[{"role": "user"}]"#, "messages[0].content"),
        bad("content is a number", r#"[{"role": "user", "content": 1}]"#, "messages[0].content"),
        bad("ends with the assistant", r#"[{"role": "assistant", "content": "x"}]"#, "messages[0]"),
        bad("begins with a tool", r#"[{"role": "tool", "content": "x"}]"#, "messages[0]"),
        bad(
            "a tool answers the user",
            r#"[{"role": "user", "content": "x"}, {"role": "tool", "content": "x"}]"#,
            "messages[1]",
        ),
        bad(
            "an image by URL",
            r#"[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}]}]"#,
            "data: URL",
        ),
        row(
            "an image",
            CHAT,
            messages(r#"[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]"#),
            400,
            "unsupported",
        )
        .says(&["images"]),
    ]
}

fn body_rows() -> Vec<Row> {
    let bad = |name, body: Vec<u8>, says: &'static str| row(name, CHAT, body, 400, "invalid_request").says(&[says]);
    let deep = |n: usize| [b"{\"a\":".repeat(n), b"1".to_vec(), b"}".repeat(n)].concat();
    vec![
        bad("an empty body", Vec::new(), "empty"),
        bad("broken JSON", b"{\"messages\": [".to_vec(), "line 1 column 14"),
        bad("no JSON", b"hello".to_vec(), "line 1 column"),
        bad("a list", b"[]".to_vec(), "not an array"),
        bad("rubbish behind", b"{} x".to_vec(), "trailing"),
        bad("invalid UTF-8", b"{\"model\": \"\xff\xfe\"}".to_vec(), "UTF-8 at line 1 column 12"),
        bad("a lone surrogate", br#"{"model": "\ud800"}"#.to_vec(), "model"),
        bad("depth 65", deep(65), "deeper than 64"),
        bad("depth 100000", deep(100_000), "deeper than 64"),
        row("a compressed body", CHAT, "x", 415, "unsupported_media_type")
            .headers("content-type: application/json\r\ncontent-encoding: gzip\r\n")
            .says(&["content-encoding"]),
        row("text/plain", CHAT, chat("\"n\": 1"), 415, "unsupported_media_type")
            .headers("content-type: text/plain\r\n")
            .says(&["text/plain"]),
        row("a form of a web page", CHAT, chat("\"n\": 1"), 415, "unsupported_media_type")
            .headers("content-type: application/x-www-form-urlencoded\r\norigin: http://evil.example\r\n"),
        row("10 MB", CHAT, vec![b' '; 10_000_000], 413, "request_too_large").says(&["8388608"]),
        row("a strange deadline", CHAT, chat("\"n\": 1"), 400, "invalid_request")
            .headers("x-llmo-deadline-ms: soon\r\n")
            .says(&["x-llmo-deadline-ms"]),
        row("a tenant like a path", CHAT, chat("\"n\": 1"), 400, "invalid_request")
            .headers("x-llmo-tenant: ../x\r\n")
            .says(&["x-llmo-tenant"]),
    ]
}

fn model_rows() -> Vec<Row> {
    let named = |name, model: &str| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]}).to_string();
        row(name, CHAT, body, 404, "model_not_found").says(&["does not exist"])
    };
    let long = "x".repeat(100_000);
    let words = "word ".repeat(1000);
    vec![
        named("an unknown model", "nope").says(&["did you mean \"sim\""]),
        named("../ in a model's name", "../../etc/passwd"),
        named("an encoded ../", "%2e%2e%2f"),
        named("an absolute path", "/etc/passwd"),
        named("NUL in a model's name", "sim\0"),
        named("a line break in a model's name", "sim\nx"),
        named("a model's name of 100 kB", &long),
        named("a name that looks alike", "ѕim"),
        row(
            "context overflow",
            CHAT,
            messages(&json!([{"role": "user", "content": words}]).to_string()),
            400,
            OVERFLOW,
        )
        .says(&["4096", "tokens"]),
        row("context overflow by max_tokens", CHAT, chat("\"max_tokens\": 5000"), 400, OVERFLOW)
            .says(&["5000", "4096"]),
    ]
}

const OVERFLOW: &str = "context_length_exceeded";

fn other_rows() -> Vec<Row> {
    let text = |name, body: &str, says: &'static str| row(name, TEXT, body, 400, "invalid_request").says(&[says]);
    let embed = |name, body: &str, says: &'static str| row(name, EMBED, body, 400, "invalid_request").says(&[says]);
    vec![
        text("no prompt", "{}", "prompt"),
        text("no prompts", r#"{"prompt": []}"#, "prompt"),
        text("mixed prompts", r#"{"prompt": ["a", 1]}"#, "prompt"),
        text("a negative token", r#"{"prompt": [-1]}"#, "prompt"),
        text("a token of 2^32", r#"{"prompt": [4294967296]}"#, "prompt"),
        text("a token outside the vocabulary", r#"{"prompt": [4294967295]}"#, "4294967295"),
        text(
            "17 choices over all prompts",
            r#"{"prompt": ["a", "b", "c", "d", "e", "f", "g", "h", "i"], "n": 2}"#,
            "16",
        ),
        text("logprobs is true", r#"{"prompt": "a", "logprobs": true}"#, "logprobs"),
        row("a suffix", TEXT, r#"{"prompt": "a", "suffix": "b"}"#, 400, "unsupported").says(&["suffix"]),
        text("best_of is less than n", r#"{"prompt": "a", "n": 3, "best_of": 2}"#, "best_of"),
        text("best_of is 0", r#"{"prompt": "a", "best_of": 0}"#, "best_of"),
        text("best_of of millions", r#"{"prompt": "a", "best_of": 5000000}"#, "best_of"),
        text("best_of in a stream", r#"{"prompt": "a", "best_of": 2, "stream": true}"#, "best_of"),
        text("17 completions over all prompts", r#"{"prompt": ["a", "b", "c"], "best_of": 6}"#, "best_of"),
        text("nothing to generate", r#"{"prompt": "a", "max_tokens": 0}"#, "max_tokens"),
        text("21 alternatives", r#"{"prompt": "a", "logprobs": 21}"#, "logprobs"),
        text("21 alternatives of the prompt", r#"{"prompt": "a", "prompt_logprobs": 21}"#, "prompt_logprobs"),
        row("echo with logprobs", TEXT, r#"{"prompt": "a", "echo": true, "logprobs": 1}"#, 400, "unsupported"),
        embed("no input", "{}", "input"),
        embed("an empty input", r#"{"input": []}"#, "input"),
        embed("an empty text", r#"{"input": ["a", ""]}"#, "input[1]"),
        embed("input is a number", r#"{"input": 1}"#, "input"),
        embed("a strange encoding", r#"{"input": "a", "encoding_format": "int8"}"#, "encoding_format"),
        embed("0 dimensions", r#"{"input": "a", "dimensions": 0}"#, "dimensions"),
        embed("too many dimensions", r#"{"input": "a", "dimensions": 1000000}"#, "dimensions"),
        row("tokens to embed", EMBED, r#"{"input": [[1, 2]]}"#, 400, "unsupported").says(&["token ids"]),
        row("no content to tokenize", "/tokenize", "{}", 400, "invalid_request").says(&["content"]),
        row("a token outside the vocabulary", "/detokenize", r#"{"tokens": [4294967295]}"#, 400, "invalid_request"),
        row("an unknown path", "/v2/chat", "{}", 404, "not_found").says(&["/v2/chat"]),
        row("a wrong method", CHAT, "", 405, "method_not_allowed").method("GET").says(&["GET"]),
        row("DELETE of models", "/v1/models", "", 405, "method_not_allowed").method("DELETE"),
        row("an unknown model looked up", "/v1/models/nope", "", 404, "model_not_found").method("GET"),
        row("a path looked up", "/v1/models/..%2f..%2fetc%2fpasswd", "", 404, "model_not_found").method("GET"),
        row("dots looked up", "/v1/models/%2e%2e/x", "", 404, "model_not_found").method("GET"),
    ]
}

fn plain_rows() -> Vec<Row> {
    let bad =
        |name, field: &str, says: &'static str| row(name, PLAIN, plain(field), 400, "invalid_request").says(&[says]);
    vec![
        row("no prompt", PLAIN, "{}", 400, "invalid_request").says(&["prompt"]),
        row("an empty prompt", PLAIN, r#"{"prompt": " "}"#, 400, "invalid_request").says(&["prompt"]),
        row("prompt is a list", PLAIN, r#"{"prompt": ["a"]}"#, 400, "invalid_request").says(&["prompt"]),
        row("broken JSON", PLAIN, "{", 400, "invalid_request").says(&["line 1 column 1"]),
        row("invalid UTF-8", PLAIN, b"{\"prompt\": \"\xc3\x28\"}".to_vec(), 400, "invalid_request").says(&["UTF-8"]),
        row("10 MB", PLAIN, vec![b' '; 10_000_000], 413, "request_too_large"),
        row("text/plain", PLAIN, plain("\"top_p\": 1"), 415, "unsupported_media_type")
            .headers("content-type: text/plain\r\n"),
        row("an unknown path", "/api/nothing", "{}", 404, "not_found"),
        row("a wrong method", PLAIN, "", 405, "method_not_allowed").method("PUT"),
        row("an unknown model", PLAIN, plain(r#""model": "../x""#), 404, "model_not_found"),
        row("a stream", PLAIN, plain(r#""stream": true"#), 400, "unsupported").says(&["stream"]),
        row("context overflow", PLAIN, json!({"prompt": "word ".repeat(1000)}).to_string(), 400, OVERFLOW),
        bad("max_length is 0", r#""max_length": 0"#, "max_length"),
        bad("max_length is negative", r#""max_length": -5"#, "max_length"),
        bad("temperature is NaN", r#""temperature": NaN"#, "temperature"),
        bad("temperature is a word", r#""temperature": "hot""#, "temperature"),
        bad("temperature is 1e400", r#""temperature": 1e400"#, "temperature"),
        bad("top_p is 2", r#""top_p": 2"#, "top_p"),
        bad("stop is a number", r#""stop": 3"#, "stop"),
    ]
}

/// The message and the code, if the body has the form of the dialect.
fn read(path: &str, body: &str) -> Option<(String, String)> {
    let body: Value = serde_json::from_str(body).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if path.starts_with("/api/") {
        // The plain form says so; Ollama's does not.
        return if body["success"] == true { None } else { text(&body["error"]).zip(text(&body["code"])) };
    }
    if path.starts_with("/v1/messages") {
        let error = &body["error"];
        return if body["type"] == "error" { text(&error["message"]).zip(text(&error["type"])) } else { None };
    }
    let error = &body["error"];
    error.get("param").filter(|_| error["type"].is_string())?;
    text(&error["message"]).zip(text(&error["code"]))
}

/// What is wrong with the answer to a row, if anything.
fn complaint(row: &Row, response: &str) -> Option<String> {
    let Some((head, body)) = response.split_once("\r\n\r\n") else {
        return Some("no answer".to_owned());
    };
    if status(response) != row.status {
        return Some(format!("status {}", status(response)));
    }
    if !head.contains("x-request-id: ") || !head.contains("content-type: application/json") {
        return Some("a header is missing".to_owned());
    }
    let Some((message, code)) = read(&row.path, body) else {
        return Some("not an error of the dialect".to_owned());
    };
    if code != row.code {
        return Some(format!("code {code}"));
    }
    if message.len() > 1000 {
        return Some(format!("a message of {} bytes", message.len()));
    }
    row.says.iter().find(|word| !message.contains(**word)).map(|word| format!("{word:?} is not said"))
}

#[tokio::test]
async fn every_bad_input_is_a_clear_error_and_harms_nothing() {
    let mut options = SimOptions::named("sim");
    options.context_length = 4096;
    let sim = Sim::with(options, FrontendOptions::default(), ServeOptions::default()).await;
    let mut rows = parameter_rows();
    rows.extend(extension_rows());
    rows.extend(constraint_rows());
    rows.extend(message_rows());
    rows.extend(body_rows());
    rows.extend(model_rows());
    rows.extend(other_rows());
    rows.extend(plain_rows());
    rows.extend(dialect_rows::all());
    let mut complaints = Vec::new();
    for row in &rows {
        let mut raw = Raw::connect(sim.server.addr).await;
        raw.send(row.bytes()).await;
        let response = raw.rest().await;
        if let Some(complaint) = complaint(row, &response) {
            complaints.push(format!("{} ({}): {complaint}: {response}", row.name, row.path));
        }
        let good = sim.ask(PLAIN, json!({"prompt": "hi", "max_length": 2})).await;
        assert_eq!(good["response"], "t0 t1 ", "after {}", row.name);
        assert_eq!(sim.busy(), 0, "after {}", row.name);
    }
    assert!(complaints.is_empty(), "of {} rows:\n{}", rows.len(), complaints.join("\n"));
}
