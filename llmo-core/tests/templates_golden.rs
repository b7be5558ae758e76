//! Chat templates of real models give the prompts that transformers gives.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use llmo_core::ModelError;
use llmo_core::model::{Message, Role, Tool, ToolCall};
use llmo_core::text::{ChatTemplate, Conversation, TemplateError};

fn template(name: &str, bos: &str, eos: &str) -> ChatTemplate {
    let path = format!("{}/tests/templates/{name}.jinja", env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(path).expect("the template is there");
    ChatTemplate::compile(&source, bos, eos).expect("the template compiles")
}

fn conversation() -> Vec<Message> {
    vec![Message::user("Hi"), Message::assistant("Hello!"), Message::user("  2+2?  ")]
}

fn with_system(messages: Vec<Message>) -> Vec<Message> {
    [vec![Message::system("Be brief.")], messages].concat()
}

#[test]
fn smollm2_adds_its_own_system_message() {
    let smollm2 = template("smollm2", "<|im_start|>", "<|im_end|>");
    assert_eq!(
        smollm2.render(&[Message::user("What is the capital of France?")], true).expect("renders"),
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n\
         <|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    );
    assert_eq!(
        smollm2.render(&with_system(conversation()), false).expect("renders"),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n\
         <|im_start|>user\n  2+2?  <|im_end|>\n"
    );
}

#[test]
fn llama3_trims_contents_and_begins_with_bos() {
    let llama3 = template("llama3", "<|begin_of_text|>", "<|eot_id|>");
    assert_eq!(
        llama3.render(&with_system(conversation()), true).expect("renders"),
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\n"
    );
}

#[test]
fn llama3_2_has_a_fixed_date_unless_given_one() {
    let llama3 = template("llama3.2", "<|begin_of_text|>", "<|eot_id|>");
    let prompt = |date: &str| {
        format!(
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n\
             Today Date: {date}\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\n"
        )
    };
    assert_eq!(llama3.render(&[Message::user("Hi")], true).expect("renders"), prompt("26 Jul 2024"));
    assert_eq!(llama3.at(1_735_689_599).render(&[Message::user("Hi")], true).expect("renders"), prompt("31 Dec 2024"));
}

#[test]
fn qwen2_5_reads_roles_and_tools_as_attributes() {
    let qwen = template("qwen2.5", "", "<|im_end|>");
    assert_eq!(
        qwen.render(&conversation(), true).expect("renders"),
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n\
         <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\n  2+2?  <|im_end|>\n\
         <|im_start|>assistant\n"
    );
    let tool = [Message::user("Hi"), Message::new(Role::Tool, "4"), Message::new(Role::Tool, "5")];
    assert!(qwen.render(&tool, false).expect("renders").ends_with(
        "<|im_start|>user\n<tool_response>\n4\n</tool_response>\n<tool_response>\n5\n</tool_response><|im_end|>\n"
    ));
}

/// A question, a call, its result; and the function.
fn called() -> (Vec<Message>, Vec<Tool>) {
    let mut call = Message::assistant("");
    call.tool_calls.push(ToolCall::new("abcdefghi", "weather", "{\"city\": \"Łódź\"}"));
    let mut result = Message::new(Role::Tool, "17");
    result.tool_call_id = Some("abcdefghi".into());
    let mut tool =
        Tool::new("weather", serde_json::json!({"type": "object", "properties": {"city": {"type": "string"}}}));
    tool.description = Some("Now.".into());
    (vec![Message::user("Hi"), call, result], vec![tool])
}

#[test]
fn qwen_is_told_of_functions_and_their_calls() {
    let (messages, tools) = called();
    let qwen = template("qwen2.5", "", "<|im_end|>");
    let prompt = qwen.render_conversation(&Conversation::new(&messages).tools(&tools).generation_prompt(true));
    let prompt = prompt.expect("renders");
    assert!(
        prompt.contains(
            "<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"description\": \"Now.\", \
         \"parameters\": {\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}}}}}\n</tools>"
        ),
        "{prompt}"
    );
    assert!(
        prompt.ends_with(
            "<|im_start|>assistant\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Łódź\"}}\n\
         </tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n17\n</tool_response><|im_end|>\n\
         <|im_start|>assistant\n"
        ),
        "{prompt}"
    );
}

#[test]
fn a_large_set_of_functions_has_enough_fuel() {
    let (messages, tools) = called();
    let schema = serde_json::json!({"type": "object", "description": "x".repeat(500)});
    let many: Vec<Tool> = (0..64).map(|i| Tool::new(format!("f{i}"), schema.clone())).chain(tools).collect();
    for name in ["qwen2.5", "llama3.2"] {
        let template = template(name, "", "");
        let prompt = template.render_conversation(&Conversation::new(&messages[..1]).tools(&many));
        assert!(prompt.expect(name).contains("f63"), "{name}");
    }
}

#[test]
fn gemma_refuses_a_system_message_in_its_own_words() {
    let gemma = template("gemma2", "<bos>", "<eos>");
    assert_eq!(
        gemma.render(&conversation(), true).expect("renders"),
        "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n\
         <start_of_turn>user\n2+2?<end_of_turn>\n<start_of_turn>model\n"
    );
    let refusal = gemma.render(&with_system(conversation()), true).expect_err("refused");
    assert!(matches!(&refusal, TemplateError::Rejected(words) if words == "System role not supported"), "{refusal:?}");
    let error = ModelError::from(refusal);
    assert!(matches!(&error, ModelError::InvalidRequest { param, .. } if param == "messages"), "{error:?}");
}

#[test]
fn mistral_puts_the_system_message_into_the_last_question() {
    let mistral = template("mistral", "<s>", "</s>");
    assert_eq!(
        mistral.render(&with_system(conversation()), true).expect("renders"),
        "<s>[INST] Hi[/INST] Hello!</s>[INST] Be brief.\n\n  2+2?  [/INST]"
    );
    let twice = [Message::user("a"), Message::user("b")];
    assert!(matches!(mistral.render(&twice, true), Err(TemplateError::Rejected(words)) if words.contains("alternate")));
}

#[test]
fn the_dialect_is_that_of_transformers() {
    for (source, expected) in [
        ("{{ {'a': [1, 'é<>'], 'b': none} | tojson }}", r#"{"a": [1, "é<>"], "b": null}"#),
        ("{{ {'a': [1], 'b': {}} | tojson(indent=2) }}", "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}"),
        ("{{ 'é🦀\\n' | tojson(ensure_ascii=true) }}", "\"\\u00e9\\ud83e\\udd80\\n\""),
        ("{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}", r#"{"a": 2, "b": 1}"#),
        ("{{ [1, 2] | tojson(separators=(',', ':')) }}", "[1,2]"),
        ("{{ true }} {{ none }} {{ 1.0 }} {{ [1, 'a', true] }}", "True None 1.0 [1, 'a', True]"),
        ("{{ {'k': 'v'} }} {{ ['a'] | string }} {{ [1, 'b'] | join('-') }}", "{'k': 'v'} ['a'] 1-b"),
        ("{{ '-'.join(['a', 'b']) }} {{ '{}!{:>3}'.format('x', 7) }} {{ '%s=%d' | format('n', 3) }}", "a-b x!  7 n=3"),
        ("{{ 'a,b'.split(',')[-1] }} {{ ' x '.strip() }} {{ 'Ab'.startswith('A') }}", "b x True"),
        ("{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}no{% endfor %}", ""),
        ("{% for m in messages %}\n    {% if true %}\n{{ m['content'] }}\n    {% endif %}\n{% endfor %}", "Hi\n"),
        ("{%- generation -%} a {%- endgeneration %} b{% generation %}c{% endgeneration %}", "a bc"),
        ("{{ messages[0].get('name', 'nobody') }} {{ messages[0]['name'] is defined }}", "nobody False"),
        ("{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}", "role=user;content=Hi;"),
        ("{{ tools is none }} {{ documents is none }} {{ strftime_now is defined }}", "True True False"),
    ] {
        let rendered = ChatTemplate::compile(source, "", "").and_then(|t| t.render(&[Message::user("Hi")], false));
        assert_eq!(rendered.expect(source), expected, "{source}");
    }
}

#[test]
fn what_is_not_a_template_is_a_syntax_error() {
    for source in
        ["{% if %}", "{{ a", "{% endfor %}", "{{ ((((( }}", &"{% if a %}".repeat(100_000), &"x".repeat(2 << 20)]
    {
        let error = ChatTemplate::compile(source, "", "").expect_err("refused");
        assert!(matches!(error, TemplateError::Syntax(_)), "{error:?}");
    }
}

#[test]
fn a_long_conversation_renders_whole() {
    let llama3 = template("llama3", "<s>", "</s>");
    let messages: Vec<Message> = (0..2000).map(|i| Message::user(format!("{i}: {}", "word ".repeat(200)))).collect();
    let prompt = llama3.render(&messages, true).expect("enough fuel");
    assert!(prompt.len() > 2_000_000 && prompt.contains("1999: word"));
}
