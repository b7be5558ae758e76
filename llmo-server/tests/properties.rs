//! Whatever clients send, a translation ends in a call that core accepts, or in a fault.
#![allow(missing_docs, clippy::unwrap_used)] // Clippy knows tests, but not what they call.

use llmo_server::dialect::call::MAX_CHOICES;
use llmo_server::dialect::{Call, model_name, openai, spec};
use llmo_server::fault::Fault;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const FIELDS: [&str; 48] = [
    "model",
    "messages",
    "prompt",
    "max_tokens",
    "max_completion_tokens",
    "max_length",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "logit_bias",
    "stop",
    "n",
    "best_of",
    "echo",
    "suffix",
    "logprobs",
    "top_logprobs",
    "stream",
    "stream_options",
    "return_token_ids",
    "response_format",
    "tools",
    "tool_choice",
    "input",
    "encoding_format",
    "dimensions",
    "content",
    "tokens",
    "repeat_penalty",
    "repeat_last_n",
    "dry_multiplier",
    "dry_base",
    "dry_allowed_length",
    "dry_penalty_last_n",
    "dry_sequence_breakers",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
    "mirostat_mu",
    "stop_token_ids",
    "prompt_logprobs",
    "xtc_probability",
];

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-3_i64..40).prop_map(Value::from),
        (-3.0_f64..3.0).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
    ]
}

fn message() -> impl Strategy<Value = Value> {
    let role = prop_oneof![Just("user"), Just("assistant"), Just("system"), Just("tool"), Just("x")];
    (role, ".{0,8}").prop_map(|(role, content)| json!({"role": role, "content": content}))
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => number(),
        2 => ".{0,8}".prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        2 => proptest::collection::vec(message(), 0..4).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-z0-9]{0,5}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn body() -> impl Strategy<Value = Value> {
    let fields = proptest::collection::hash_map(proptest::sample::select(&FIELDS[..]), value(), 0..6);
    fields.prop_map(|fields| {
        let mut body = json!({"messages": [{"role": "user", "content": "x"}], "prompt": "x", "input": "x"});
        body.as_object_mut().unwrap().extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
        body
    })
}

fn sound(call: Result<Call, Fault>) -> Result<(), TestCaseError> {
    match call {
        Ok(call) => {
            prop_assert!((1..=MAX_CHOICES).contains(&call.jobs.len()));
            for job in &call.jobs {
                prop_assert!(job.validate().is_ok(), "{job:?}");
            }
        }
        Err(fault) => {
            prop_assert_eq!(fault.status().as_u16(), 400);
            prop_assert!(!fault.to_string().is_empty());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_passes_a_translation_passes_cores_validation(body in body()) {
        let bytes = body.to_string();
        sound(openai::chat::parse(bytes.as_bytes()))?;
        sound(openai::completions::parse(bytes.as_bytes()).map(|completion| completion.call))?;
        sound(spec::generate::parse(bytes.as_bytes()))?;
        let _ = openai::embeddings::parse(bytes.as_bytes());
        let _ = openai::tokens::parse_tokenize(bytes.as_bytes());
        let _ = openai::tokens::parse_detokenize(bytes.as_bytes());
    }

    #[test]
    fn a_name_that_passes_never_leads_out_of_a_directory(name in "[a./%\\\\\u{0}\u{ff0e}~:-]{0,12}") {
        if let Ok(name) = model_name::check(&name) {
            prop_assert!(name.is_empty() || !std::path::Path::new(name).is_absolute());
            prop_assert!(!name.split('/').any(|segment| segment.starts_with('.')));
            prop_assert!(name.is_ascii() && !name.contains(['%', '\\', '\0', '~']));
        }
    }
}
