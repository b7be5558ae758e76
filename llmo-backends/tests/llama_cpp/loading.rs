//! Files and options.

use std::fs;
use std::sync::{Arc, Mutex};

use llmo_backends::llama_cpp::{HeaderSizes, KvType, LlamaCpp, LlamaCppOptions, plan};
use llmo_core::model::LoadStep;
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

#[test]
fn a_load_tells_how_far_it_is_and_takes_what_was_planned() {
    let mut wanted = LlamaCppOptions::default();
    (wanted.threads, wanted.kv_type) = (Some(1), Some(KvType::Q8_0));
    // SmolLM2 has 30 layers with 3 heads of 64 values each.
    let planned = plan(&wanted, HeaderSizes::new(8192, 30 * 3 * 2 * 64, 49_152), 64 << 20).unwrap();
    assert!(planned.kv_bytes <= 64 << 20 && planned.slots >= 4, "{planned:?}");
    wanted.plan = Some(planned);
    // By the time it is loaded, much more would be chosen.
    wanted.kv_budget_bytes = 1 << 30;
    let told: Arc<Mutex<Vec<_>>> = Arc::default();
    let tell = Arc::clone(&told);
    let model = LlamaCpp::load_watched(&weights(), wanted, Arc::new(move |p| tell.lock().unwrap().push(p))).unwrap();
    assert_eq!((model.info().context_length, model.load().slots), (planned.context_length, planned.slots));
    let takes = model.footprint();
    assert_eq!((takes.kv_cache, takes.buffers), (planned.kv_bytes, planned.buffer_bytes));
    assert!((90_000_000..110_000_000).contains(&takes.weights), "{takes:?}");
    let told = told.lock().unwrap().clone();
    let percent: Vec<u8> = told.iter().filter(|p| p.step == LoadStep::Loading).filter_map(|p| p.percent).collect();
    assert!(percent.is_sorted() && percent.len() > 3 && percent.last() == Some(&100), "{told:?}");
    assert!(told.iter().all(|p| p.step != LoadStep::Tuning), "nothing was measured: {told:?}");
}
