//! Files and options.

use std::fs;

use llmo_backends::llama_cpp::{KvType, LlamaCpp};
use llmo_core::{GenerateRequest, Model, ModelError};

use crate::support::{load, options, run, shared, weights};

#[tokio::test]
async fn the_model_says_what_it_is() {
    let model = shared();
    let info = model.info();
    assert_eq!((info.id.as_str(), info.family.as_str(), info.backend.as_str()), ("smollm2-135m", "llama", "llama.cpp"));
    assert_eq!((info.context_length, info.vocab_size), (1024, 49_152));
    assert_eq!(info.quantisation.to_string(), "Q4_1");
    assert!((134_000_000..136_000_000).contains(&info.parameters), "{}", info.parameters);
    let can = info.capabilities;
    assert!(can.generate && can.chat && can.tokenize && can.logprobs && can.token_ids && !can.embed);
}

#[test]
fn a_file_cut_anywhere_is_refused_before_llama_cpp_sees_it() {
    let whole = fs::read(weights()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.gguf");
    for length in [0, 1, 4, 23, 24, 1000, 1_000_000, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        match LlamaCpp::load(&path, options()) {
            Err(ModelError::Corrupt { model, reason }) => {
                assert_eq!(model, "smollm2-135m");
                assert!(!reason.contains("llama.cpp"), "{length} bytes reached llama.cpp: {reason}");
            }
            other => panic!("{length} bytes: {other:?}"),
        }
    }
}

#[test]
fn what_is_not_a_model_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text.gguf");
    fs::write(&path, "This is not a model. ".repeat(1000)).unwrap();
    assert!(matches!(LlamaCpp::load(&path, options()), Err(ModelError::Corrupt { .. })));
    assert!(matches!(LlamaCpp::load(directory.path(), options()), Err(ModelError::Corrupt { .. })));
    let missing = directory.path().join("missing.gguf");
    assert!(matches!(LlamaCpp::load(&missing, options()), Err(ModelError::NotFound { .. })));
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let mut options = options();
    options.slots = 1000;
    match LlamaCpp::load(&weights(), options) {
        Err(ModelError::InvalidRequest { param, .. }) => assert_eq!(param, "slots"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_eight_bit_cache_and_plain_attention_answer_too() {
    for (kv_type, flash_attention) in [(KvType::Q8_0, true), (KvType::F16, false)] {
        let mut options = options();
        (options.kv_type, options.flash_attention, options.slots) = (Some(kv_type), Some(flash_attention), 1);
        let request = GenerateRequest::complete("The capital of France is").max_tokens(4);
        let answer = run(&load(options), request).await.unwrap().0.text;
        assert!(answer.contains("Paris"), "{kv_type:?}: {answer}");
    }
}
