//! Every form, cut everywhere.

use proptest::prelude::*;

use super::{Parsed, ToolCallParser, ToolFormat};
use crate::model::{Message, Role, Tool, ToolCall, ToolChoice};

/// The text and the calls (name, arguments) of an output in these pieces.
fn parse<'a>(format: ToolFormat, pieces: impl IntoIterator<Item = &'a str>) -> (String, Vec<(String, String)>) {
    let mut parser = ToolCallParser::new(format, ["f", "weather"], 7);
    let mut text = String::new();
    let mut calls: Vec<(String, String)> = Vec::new();
    let mut take = |parsed: Parsed| {
        text.push_str(&parsed.text);
        for delta in parsed.calls {
            if let Some(name) = delta.name {
                assert!(delta.id.is_some() && delta.index as usize == calls.len() && delta.arguments.is_empty());
                calls.push((name, String::new()));
            } else {
                calls[delta.index as usize].1.push_str(&delta.arguments);
            }
        }
    };
    for piece in pieces {
        take(parser.push(piece));
    }
    take(parser.finish());
    (text, calls)
}

fn call(arguments: &str) -> Vec<(String, String)> {
    vec![("f".into(), arguments.into())]
}

const HERMES: &str = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}</tool_call>\\\"\"}}\n</tool_call>";
const MISTRAL: &str =
    "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", \"arguments\": {}}]";

#[test]
fn each_form_is_read() {
    assert_eq!(parse(ToolFormat::Hermes, [HERMES]), (String::new(), call(r#"{"a": "}</tool_call>\""}"#)));
    let two = format!("Well. \n{HERMES}\n{HERMES}\n");
    let (text, calls) = parse(ToolFormat::Hermes, [two.as_str()]);
    assert_eq!((text.as_str(), calls.len()), ("Well.", 2));
    let (text, calls) = parse(ToolFormat::Mistral, [MISTRAL]);
    assert_eq!((text.as_str(), &calls[0].1[..], &calls[1].0[..], &calls[1].1[..]), ("", "{\"a\": 1}", "g", "{}"));
    for llama in [
        r#"{"name": "f", "parameters": {"a": [1]}}"#,
        r#"<|python_tag|>{"name": "f", "parameters": {"a": [1]}}"#,
        " \n{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"a\":[1]}}\n",
        r#"{"parameters": {"a": [1]}, "name": "f"}"#,
    ] {
        let (text, calls) = parse(ToolFormat::Llama3, [llama]);
        assert_eq!((text.as_str(), calls[0].1.replace(' ', "")), ("", "{\"a\":[1]}".into()), "{llama}");
    }
    let (_, calls) =
        parse(ToolFormat::Llama3, [r#"{"name": "f", "parameters": {}}; {"name": "weather", "parameters": {}}"#]);
    assert_eq!(calls.len(), 2);
    assert_eq!(
        parse(ToolFormat::Generic, [r#"{"tool_call": {"name": "f", "arguments": {"a": 1}}}"#]).1,
        call("{\"a\": 1}")
    );
    assert_eq!(parse(ToolFormat::Generic, ["{\"response\": \"a\\n\\u00e9\\ud83e\\udd80\\\"\"}"]).0, "a\né🦀\"");
    assert_eq!(parse(ToolFormat::Generic, [r#"{"response": {"b": ["}"]}}"#]).0, r#"{"b": ["}"]}"#);
}

#[test]
fn what_is_no_call_is_text() {
    for (format, text) in [
        (ToolFormat::Hermes, "a <tool_cal b <tool_call> c"),
        (ToolFormat::Hermes, "<tool_call>{\"no\": 1} x"),
        (ToolFormat::Hermes, "{\"name\": \"f\", \"arguments\": {}}"),
        (ToolFormat::Hermes, "ends in space \n"),
        (ToolFormat::Mistral, "see [1] and [TOOL_CALLS] nothing"),
        (ToolFormat::Llama3, "Hello {\"name\": \"f\", \"parameters\": {}}"),
        (ToolFormat::Llama3, "{\"name\": \"unknown\", \"parameters\": {}}"),
        (ToolFormat::Llama3, "{\"answer\": 5} and more"),
        (ToolFormat::Llama3, "{\"name\": \"f\""),
        (ToolFormat::Generic, "just text"),
        (ToolFormat::Generic, "{\"other\": 1}"),
    ] {
        assert_eq!(parse(format, [text]), (text.to_owned(), Vec::new()), "{format:?}");
    }
}

#[test]
fn an_output_that_is_cut_off_keeps_what_came() {
    assert_eq!(
        parse(ToolFormat::Hermes, ["<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"b"]).1,
        call("{\"a\": \"b")
    );
    assert_eq!(parse(ToolFormat::Generic, ["{\"response\": \"half a sen"]).0, "half a sen");
}

#[test]
fn ids_are_what_each_family_takes() {
    let id = |format, text: &str| {
        let parsed = ToolCallParser::new(format, ["f"], 3).push(text);
        parsed.calls[0].id.clone().unwrap()
    };
    let mistral = id(ToolFormat::Mistral, MISTRAL);
    assert!(mistral.len() == 9 && mistral.chars().all(|c| c.is_ascii_alphanumeric()), "{mistral}");
    assert!(id(ToolFormat::Hermes, HERMES).starts_with("call_"));
    let parsed = ToolCallParser::new(ToolFormat::Mistral, ["f"], 3).push(MISTRAL);
    let ids: Vec<_> = parsed.calls.iter().filter_map(|call| call.id.clone()).collect();
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn the_form_is_read_off_the_template() {
    let template = |name: &str| std::fs::read_to_string(format!("tests/templates/{name}.jinja")).unwrap();
    assert_eq!(ToolFormat::of_template(&template("qwen2.5")), ToolFormat::Hermes);
    assert_eq!(ToolFormat::of_template(&template("llama3.2")), ToolFormat::Llama3);
    for name in ["smollm2", "gemma2", "llama3"] {
        assert_eq!(ToolFormat::of_template(&template(name)), ToolFormat::Generic, "{name}");
    }
}

#[test]
fn a_model_without_tools_is_told_in_words() {
    let mut called = Message::assistant("");
    called.tool_calls.push(ToolCall::new("call_1", "f", "{\"a\": 1}"));
    let mut result = Message::new(Role::Tool, "42");
    result.name = Some("f".into());
    let messages = [Message::system("Be brief."), Message::user("Hi"), called, result];
    let tools = [Tool::new("f", serde_json::json!({"type": "object"})), Tool::new("g", serde_json::json!({}))];
    let explained = super::generic::explain(&messages, &tools, &ToolChoice::Named("f".into()));
    assert!(explained[0].content.starts_with("Be brief.\n\nYou can call") && !explained[0].content.contains("\"g\""));
    assert_eq!(explained[2].content, r#"{"tool_call":{"name":"f","arguments":{"a":1}}}"#);
    assert_eq!((explained[3].role, explained[3].content.as_str()), (Role::User, r#"{"tool_result":"42","name":"f"}"#));
    assert_eq!(super::generic::explain(&messages[..2], &tools, &ToolChoice::None), messages[..2]);
}

fn output() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just(HERMES.to_owned()),
        Just(MISTRAL.to_owned()),
        Just("{\"name\": \"f\", \"parameters\": {\"x\": \"é\\\\\"}}".to_owned()),
        Just("{\"tool_call\": {\"name\": \"f\", \"arguments\": {\"a\": {}}}}".to_owned()),
        Just("{\"response\": \"\\ud83e\\udd80 \\n ok\"}".to_owned()),
        Just("<|python_tag|>".to_owned()),
        Just("; ".to_owned()),
        "[ \n<tol_ca>\\[\\]{}\":é,;|]{0,12}",
        "(<tool_call>|\\[TOOL_CALLS\\]|</tool_call>)?\\{\"na",
    ];
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn cuts_change_nothing(
        output in output(),
        format in prop::sample::select(vec![ToolFormat::Hermes, ToolFormat::Llama3, ToolFormat::Mistral, ToolFormat::Generic]),
        size in 1_usize..9,
    ) {
        let characters: Vec<String> = output.chars().map(String::from).collect();
        let pieces: Vec<String> = characters.chunks(size).map(|chunk| chunk.concat()).collect();
        prop_assert_eq!(parse(format, pieces.iter().map(String::as_str)), parse(format, [output.as_str()]));
    }

    #[test]
    fn text_without_marks_passes_unchanged(text in "[a-zé .,\n<\\[]{0,60}") {
        for format in [ToolFormat::Hermes, ToolFormat::Llama3, ToolFormat::Mistral] {
            prop_assert_eq!(parse(format, [text.as_str()]), (text.clone(), Vec::new()));
        }
    }
}
