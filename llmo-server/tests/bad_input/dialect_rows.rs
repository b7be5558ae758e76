//! What clients of Anthropic's, Ollama's and OpenAI's responses get wrong.

use serde_json::json;

use super::{Row, row};

const MESSAGES: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";
const CHAT: &str = "/api/chat";
const GENERATE: &str = "/api/generate";
const RESPONSES: &str = "/v1/responses";

pub(super) fn all() -> Vec<Row> {
    let mut rows = bodies();
    rows.extend(anthropic());
    rows.extend(ollama());
    rows.extend(ollama_library());
    rows.extend(responses());
    rows
}

/// What is wrong with a body whatever it asks for, at every path.
fn bodies() -> Vec<Row> {
    let deep = |n: usize| [b"{\"a\":".repeat(n), b"1".to_vec(), b"}".repeat(n)].concat();
    let mut rows = Vec::new();
    for (path, code) in [
        (MESSAGES, "invalid_request_error"),
        (COUNT, "invalid_request_error"),
        (CHAT, "invalid_request"),
        (GENERATE, "invalid_request"),
        ("/api/embed", "invalid_request"),
        ("/api/embeddings", "invalid_request"),
        ("/api/show", "invalid_request"),
        ("/api/pull", "invalid_request"),
        (RESPONSES, "invalid_request"),
    ] {
        rows.extend([
            row("an empty body", path, "", 400, code).says(&["empty"]),
            row("no object", path, "[]", 400, code).says(&["not an array"]),
            row("broken JSON", path, "{\"model\": ", 400, code).says(&["line 1 column"]),
            row("invalid UTF-8", path, b"{\"model\": \"\xff\"}".to_vec(), 400, code).says(&["UTF-8"]),
            row("depth 65", path, deep(65), 400, code).says(&["deeper than 64"]),
            row("depth 100000", path, deep(100_000), 400, code).says(&["deeper than 64"]),
            row("the model is a number", path, "{\"model\": 1}", 400, code).says(&["model"]),
            row("a field twice", path, "{\"model\": \"a\", \"model\": \"b\"}", 400, code),
        ]);
    }
    let messages = json!([{"role": "user", "content": "hi"}]);
    for name in ["nope", "../../etc/passwd", "sim\0", "%2e%2e", "ѕim"] {
        let unknown = |path, body: serde_json::Value, code| row("an unknown model", path, body.to_string(), 404, code);
        rows.extend([
            unknown(MESSAGES, json!({"model": name, "max_tokens": 2, "messages": messages}), "not_found_error"),
            unknown(COUNT, json!({"model": name, "messages": messages}), "not_found_error"),
            unknown(CHAT, json!({"model": name, "messages": messages}), "model_not_found"),
            unknown(CHAT, json!({"model": name, "messages": []}), "model_not_found"),
            unknown(GENERATE, json!({"model": name, "prompt": "hi"}), "model_not_found"),
            unknown("/api/embed", json!({"model": name, "input": "hi"}), "model_not_found"),
            unknown("/api/show", json!({"model": name}), "model_not_found"),
            unknown(RESPONSES, json!({"model": name, "input": "hi"}), "model_not_found"),
        ]);
    }
    rows
}

fn anthropic() -> Vec<Row> {
    let message =
        |fields: &str| format!(r#"{{"max_tokens": 5, "messages": [{{"role": "user", "content": "hi"}}], {fields}}}"#);
    let said = |list: &str| format!(r#"{{"max_tokens": 5, "messages": {list}}}"#);
    let fields: [(&'static str, &str, &'static str); 21] = [
        ("temperature is a word", r#""temperature": "hot""#, "temperature"),
        ("temperature is 1e400", r#""temperature": 1e400"#, "temperature"),
        ("temperature is NaN", r#""temperature": NaN"#, "line 1 column"),
        ("top_p is 0", r#""top_p": 0"#, "top_p"),
        ("top_k is negative", r#""top_k": -1"#, "top_k"),
        ("system is a number", r#""system": 1"#, "system"),
        ("system is an image", r#""system": [{"type": "image"}]"#, "system[0]"),
        (
            "17 stops",
            r#""stop_sequences": ["a","b","c","d","e","f","g","h","i","j","k","l","m","n","o","p","q"]"#,
            "stop_sequences",
        ),
        ("an empty stop", r#""stop_sequences": [""]"#, "stop_sequences"),
        ("stops are a string", r#""stop_sequences": "a""#, "stop_sequences"),
        ("stream is a word", r#""stream": "yes""#, "stream"),
        ("metadata is a string", r#""metadata": "u""#, "metadata"),
        ("the user is a number", r#""metadata": {"user_id": 1}"#, "user_id"),
        ("tools are an object", r#""tools": {}"#, "tools"),
        ("a tool without a name", r#""tools": [{"input_schema": {}}]"#, "tools[0].name"),
        ("a tool without a schema", r#""tools": [{"name": "f"}]"#, "input_schema"),
        ("a tool twice", r#""tools": [{"name": "f", "input_schema": {}}, {"name": "f", "input_schema": {}}]"#, "twice"),
        ("a choice without tools", r#""tool_choice": {"type": "any"}"#, "tools"),
        (
            "an unknown tool",
            r#""tools": [{"name": "f", "input_schema": {}}], "tool_choice": {"type": "tool", "name": "g"}"#,
            "\"g\"",
        ),
        ("a server's tool", r#""tools": [{"type": "bash_20250124", "name": "bash"}]"#, "bash_20250124"),
        ("thinking", r#""thinking": {"type": "enabled", "budget_tokens": 1024}"#, "thinking"),
    ];
    let lists: [(&'static str, &str, &'static str); 13] = [
        ("empty messages", "[]", "at least one"),
        ("messages are an object", "{}", "messages"),
        ("an unknown role", r#"[{"role": "wizard", "content": "x"}]"#, "messages[0].role"),
        ("a system message", r#"[{"role": "system", "content": "x"}]"#, "field system"),
        ("no content", r#"[{"role": "user"}]"#, "messages[0].content"),
        ("empty content", r#"[{"role": "user", "content": ""}]"#, "must not be empty"),
        ("no blocks", r#"[{"role": "user", "content": []}]"#, "must not be empty"),
        (
            "the assistant begins",
            r#"[{"role": "assistant", "content": "x"}, {"role": "user", "content": "x"}]"#,
            "messages[0]",
        ),
        (
            "the assistant ends",
            r#"[{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}]"#,
            "can't be continued",
        ),
        ("a block without a type", r#"[{"role": "user", "content": [{"text": "x"}]}]"#, "type"),
        ("an unknown block", r#"[{"role": "user", "content": [{"type": "hologram"}]}]"#, "hologram"),
        (
            "a call by the user",
            r#"[{"role": "user", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}]"#,
            "no place here",
        ),
        (
            "a result of nothing",
            r#"[{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}]"#,
            "tool_use_id",
        ),
    ];
    let code = "invalid_request_error";
    let mut rows: Vec<Row> = fields
        .iter()
        .map(|(name, fields, says)| row(name, MESSAGES, message(fields), 400, code).says(&[says]))
        .collect();
    rows.extend(lists.iter().map(|(name, list, says)| row(name, MESSAGES, said(list), 400, code).says(&[says])));
    rows.extend([
        row("no max_tokens", MESSAGES, r#"{"messages": [{"role": "user", "content": "x"}]}"#, 400, code)
            .says(&["max_tokens"]),
        row(
            "max_tokens is 0",
            MESSAGES,
            r#"{"max_tokens": 0, "messages": [{"role": "user", "content": "x"}]}"#,
            400,
            code,
        ),
        row("max_tokens is 2^64+1", MESSAGES, r#"{"max_tokens": 18446744073709551617, "messages": []}"#, 400, code),
        row("nothing to count", COUNT, "{}", 400, code).says(&["messages"]),
        row("a wrong method", MESSAGES, "", 405, code).method("GET"),
        row("an unknown path", "/v1/messages/batches", "{}", 404, "not_found_error"),
        row(
            "context overflow",
            MESSAGES,
            json!({"max_tokens": 2, "messages": [{"role": "user", "content": "word ".repeat(1000)}]}).to_string(),
            400,
            code,
        )
        .says(&["4096"]),
    ]);
    rows
}

fn ollama() -> Vec<Row> {
    let chat = |fields: &str| format!(r#"{{"messages": [{{"role": "user", "content": "hi"}}], {fields}}}"#);
    let option = |options: &str| chat(&format!(r#""options": {{{options}}}"#));
    let bad: [(&'static str, String, &'static str); 27] = [
        ("no messages", "{}".into(), "messages"),
        ("messages are a string", r#"{"messages": "hi"}"#.into(), "messages"),
        ("an unknown role", r#"{"messages": [{"role": "wizard", "content": "x"}]}"#.into(), "messages[0].role"),
        ("content is a list", r#"{"messages": [{"role": "user", "content": []}]}"#.into(), "messages[0].content"),
        ("the assistant ends", r#"{"messages": [{"role": "assistant", "content": "x"}]}"#.into(), "messages[0]"),
        ("begins with a tool", r#"{"messages": [{"role": "tool", "content": "x"}]}"#.into(), "messages[0]"),
        (
            "the user calls",
            r#"{"messages": [{"role": "user", "content": "", "tool_calls": [{"function": {"name": "f"}}]}]}"#.into(),
            "tool_calls",
        ),
        ("options are a list", chat(r#""options": [1]"#), "options"),
        ("a message is a list", r#"{"messages": [["user", "hi"]]}"#.into(), "messages[0]"),
        ("stream is a word", chat(r#""stream": "no""#), "stream"),
        ("keep_alive is a word", chat(r#""keep_alive": "soon""#), "keep_alive"),
        ("keep_alive is a list", chat(r#""keep_alive": []"#), "keep_alive"),
        ("format is a word", chat(r#""format": "yaml""#), "format"),
        ("format is a number", chat(r#""format": 1"#), "format"),
        ("think is a number", chat(r#""think": 1"#), "think"),
        ("top_logprobs alone", chat(r#""top_logprobs": 3"#), "top_logprobs"),
        ("num_predict is 0", option(r#""num_predict": 0"#), "num_predict"),
        ("num_predict is -3", option(r#""num_predict": -3"#), "num_predict"),
        ("num_predict is 2^64+1", option(r#""num_predict": 18446744073709551617"#), "num_predict"),
        ("num_ctx is negative", option(r#""num_ctx": -1"#), "num_ctx"),
        ("temperature is 1e400", option(r#""temperature": 1e400"#), "temperature"),
        ("temperature is 3", option(r#""temperature": 3"#), "options.temperature"),
        ("repeat_penalty is 0", option(r#""repeat_penalty": 0"#), "repeat_penalty"),
        ("mirostat is 3", option(r#""mirostat": 3"#), "mirostat"),
        ("seed is a word", option(r#""seed": "x""#), "seed"),
        ("an empty stop", option(r#""stop": [""]"#), "options.stop"),
        ("a tool without a function", chat(r#""tools": [{"type": "function"}]"#), "function"),
    ];
    let cant: [(&'static str, &'static str, String, &'static str); 7] = [
        ("an image", CHAT, r#"{"messages": [{"role": "user", "content": "x", "images": ["aGk="]}]}"#.into(), "images"),
        ("thinking", CHAT, chat(r#""think": "high""#), "think"),
        ("a template of the client's", CHAT, chat(r#""template": "{{ .Prompt }}""#), "template"),
        ("a template of the client's", GENERATE, r#"{"prompt": "x", "template": "y"}"#.into(), "template"),
        ("a suffix", GENERATE, r#"{"prompt": "x", "suffix": "y"}"#.into(), "suffix"),
        ("an old context", GENERATE, r#"{"prompt": "x", "context": [1]}"#.into(), "/api/chat"),
        ("an image", GENERATE, r#"{"prompt": "x", "images": ["aGk="]}"#.into(), "images"),
    ];
    let mut rows: Vec<Row> =
        bad.into_iter().map(|(name, body, says)| row(name, CHAT, body, 400, "invalid_request").says(&[says])).collect();
    rows.extend(
        cant.into_iter().map(|(name, path, body, says)| row(name, path, body, 400, "unsupported").says(&[says])),
    );
    rows.extend([
        row(
            "both forms at once",
            GENERATE,
            r#"{"prompt": "x", "max_length": 5, "options": {}}"#,
            400,
            "invalid_request",
        )
        .says(&["options", "max_length"]),
        row(
            "a raw prompt with a system",
            GENERATE,
            r#"{"prompt": "x", "raw": true, "system": "y"}"#,
            400,
            "invalid_request",
        ),
        row("the prompt is a list", GENERATE, r#"{"model": "sim", "prompt": ["x"]}"#, 400, "invalid_request")
            .says(&["prompt"]),
        row(
            "context overflow",
            GENERATE,
            json!({"model": "sim", "prompt": "word ".repeat(1000)}).to_string(),
            400,
            "context_length_exceeded",
        ),
        row("a wrong method", CHAT, "", 405, "method_not_allowed").method("GET"),
    ]);
    rows
}

fn ollama_library() -> Vec<Row> {
    let bad =
        |name, path: &str, body: &str, says: &'static str| row(name, path, body, 400, "invalid_request").says(&[says]);
    vec![
        bad("no input", "/api/embed", "{}", "input"),
        bad("an empty input", "/api/embed", r#"{"input": []}"#, "input"),
        bad("an empty text", "/api/embed", r#"{"input": ["a", ""]}"#, "empty"),
        bad("input is a number", "/api/embed", r#"{"input": 1}"#, "input"),
        bad("too many dimensions", "/api/embed", r#"{"input": "a", "dimensions": 1000000}"#, "dimensions"),
        bad("no prompt to embed", "/api/embeddings", "{}", "prompt"),
        bad("no model to show", "/api/show", "{}", "model"),
        bad("no model to pull", "/api/pull", "{}", "model"),
        row("an insecure pull", "/api/pull", r#"{"model": "x", "insecure": true}"#, 400, "unsupported"),
        row("a pull of a path", "/api/pull", r#"{"model": "../x"}"#, 404, "model_not_found"),
        row("a pull where nothing can be fetched", "/api/pull", r#"{"model": "x"}"#, 400, "unsupported"),
        row("a removal", "/api/delete", r#"{"model": "x"}"#, 501, "not_implemented")
            .method("DELETE")
            .says(&["llmo rm"]),
        row("a creation", "/api/create", "{}", 501, "not_implemented").says(&["llmo pull"]),
    ]
}

fn responses() -> Vec<Row> {
    let ask = |fields: &str| format!(r#"{{"input": "hi", {fields}}}"#);
    let bad: [(&'static str, String, &'static str); 16] = [
        ("no input", "{}".into(), "input"),
        ("input is a number", r#"{"input": 1}"#.into(), "input"),
        ("an empty input", r#"{"input": ""}"#.into(), "input"),
        ("no items", r#"{"input": []}"#.into(), "input"),
        ("an unknown role", r#"{"input": [{"role": "wizard", "content": "x"}]}"#.into(), "input[0].role"),
        ("no role", r#"{"input": [{"content": "x"}]}"#.into(), "input[0].role"),
        ("the assistant ends", r#"{"input": [{"role": "assistant", "content": "x"}]}"#.into(), "input[0]"),
        (
            "a result of nothing",
            r#"{"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}"#.into(),
            "call_id",
        ),
        ("max_output_tokens is 0", ask(r#""max_output_tokens": 0"#), "max_output_tokens"),
        ("max_output_tokens is 2^64+1", ask(r#""max_output_tokens": 18446744073709551617"#), "max_output_tokens"),
        ("temperature is 3", ask(r#""temperature": 3"#), "temperature"),
        ("top_p is infinite", ask(r#""top_p": 1e400"#), "top_p"),
        ("top_logprobs is 21", ask(r#""top_logprobs": 21"#), "top_logprobs"),
        ("a schema that is none", ask(r#""text": {"format": {"type": "json_schema"}}"#), "schema"),
        ("a tool without a name", ask(r#""tools": [{"type": "function"}]"#), "tools[0].name"),
        ("a choice that is none", ask(r#""tool_choice": "maybe""#), "tool_choice"),
    ];
    let cant: [(&'static str, String, &'static str); 8] = [
        ("an earlier response", ask(r#""previous_response_id": "resp_1""#), "whole conversation"),
        ("to be stored", ask(r#""store": true"#), "store"),
        ("in the background", ask(r#""background": true"#), "background"),
        ("a conversation", ask(r#""conversation": "conv_1""#), "conversation"),
        ("reasoning", ask(r#""reasoning": {"effort": "high"}"#), "reasoning"),
        ("a web search", ask(r#""tools": [{"type": "web_search"}]"#), "web_search"),
        ("a reference", r#"{"input": [{"type": "item_reference", "id": "x"}]}"#.into(), "input[0]"),
        (
            "an image",
            r#"{"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}]}"#.into(),
            "images",
        ),
    ];
    let mut rows: Vec<Row> = bad
        .into_iter()
        .map(|(name, body, says)| row(name, RESPONSES, body, 400, "invalid_request").says(&[says]))
        .collect();
    rows.extend(
        cant.into_iter().map(|(name, body, says)| row(name, RESPONSES, body, 400, "unsupported").says(&[says])),
    );
    rows
}
