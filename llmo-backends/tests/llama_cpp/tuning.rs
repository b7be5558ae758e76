//! The tuner with a real model. What it finds is the machine's business; that it ends, and with something valid, is ours.

use std::time::{Duration, Instant};

use llmo_backends::llama_cpp::tune::{self, Machine, PERPLEXITY_BOUND};
use llmo_backends::llama_cpp::{KvType, LlamaCpp, LlamaCppOptions, TuneMode};
use llmo_core::GenerateRequest;

use crate::support;

const DIGEST: &str = "0123456789abcdef";

fn options(directory: &std::path::Path) -> LlamaCppOptions {
    let mut options = support::options();
    options.slots = 2;
    options.digest = Some(DIGEST.into());
    options.tuning.mode = TuneMode::Auto;
    options.tuning.directory = Some(directory.to_owned());
    options
}

#[test]
fn eight_bit_keys_and_values_cost_less_perplexity_than_the_bound_and_noise_is_noticed() {
    let of = |kv_type, text| {
        let mut options = support::options();
        options.kv_type = Some(kv_type);
        tune::perplexity_of(&support::weights(), &options, text).unwrap()
    };
    let (f16, q8_0) = (of(KvType::F16, None), of(KvType::Q8_0, None));
    assert!((2.0..40.0).contains(&f16), "{f16}");
    assert!(q8_0 <= f16 * PERPLEXITY_BOUND && q8_0 >= f16 / PERPLEXITY_BOUND, "{f16} {q8_0}");
    let shuffled = of(
        KvType::F16,
        Some(
            "must wife single of that possession truth acknowledged be in a want man a \
        good universally of fortune it is a of a known little feelings such views the however or man first his entering \
        neighbourhood on a be may",
        ),
    );
    assert!(shuffled > 2.0 * f16, "{shuffled} {f16}");
}

/// One test, so that no other engine of this process is loaded: it runs in a process of its own (see `alone`).
#[test]
#[ignore = "run by `alone`"]
fn child_quick_tuning_ends_is_remembered_and_explicit_options_win() {
    let directory = tempfile::tempdir().unwrap();
    let path = support::weights();
    let machine = Machine::this().unwrap();
    let begun = Instant::now();
    let model = LlamaCpp::load(&path, options(directory.path())).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
    let record = tune::recall(directory.path(), &machine, DIGEST, 2);
    let Some(record) = record else {
        // A machine that is too busy for a single measurement within the time remembers nothing, and says so.
        return;
    };
    assert_eq!(record.chosen.threads, 1, "set by the operator");
    assert!([128, 256, 512].contains(&record.chosen.prefill_chunk), "{record:?}");
    assert!(record.gain >= 1.0 && !record.trials.is_empty());
    assert!(!record.chosen.kv_unified);

    // Another engine is loaded: nothing is measured.
    let mut other = options(directory.path());
    other.slots = 3;
    let second = LlamaCpp::load(&path, other).unwrap();
    assert_eq!(tune::recall(directory.path(), &machine, DIGEST, 3), None);
    drop(second);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let request = GenerateRequest::ask("What's the capital of France? Answer in one word.").max_tokens(12);
        support::run(&model, request).await.unwrap().0.text
    });
    assert!(answer.contains("Paris"), "{answer}");
    drop(model);

    // Remembered results are used without measuring.
    let begun = Instant::now();
    let model = LlamaCpp::load(&path, options(directory.path())).unwrap();
    let made = |r: Option<tune::Record>| r.map(|r| (r.made, r.attempts));
    if !record.noisy {
        let now = tune::recall(directory.path(), &machine, DIGEST, 2);
        assert_eq!(made(now), made(Some(record)), "measured again in {:?}", begun.elapsed());
    }
    drop(model);
}

#[test]
fn quick_tuning_ends_is_remembered_and_explicit_options_win() {
    support::alone("tuning::child_quick_tuning_ends_is_remembered_and_explicit_options_win");
}

/// In a process of its own, where nothing else is loaded.
#[test]
#[ignore = "run by `alone`"]
fn child_eight_bits_need_a_measurement() {
    let directory = tempfile::tempdir().unwrap();
    let path = support::weights();
    let int8 = |mode: TuneMode, beside_others: bool| {
        let mut options = options(directory.path());
        options.slots = 1;
        (options.tuning.mode, options.tuning.int8_kv, options.tuning.beside_others) = (mode, true, beside_others);
        options
    };
    let kv_type = |options| LlamaCpp::load(&path, options).unwrap().footprint().kv_type;
    // Other models are in memory: nothing is measured, so nothing is known.
    for mode in [TuneMode::Auto, TuneMode::Off] {
        assert_eq!(kv_type(int8(mode, true)), KvType::F16);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was measured");
    let mut forced = int8(TuneMode::Auto, true);
    forced.kv_type = Some(KvType::Q8_0);
    assert_eq!(kv_type(forced), KvType::Q8_0);
    // Alone it is measured, also where speeds aren't.
    assert_eq!(kv_type(int8(TuneMode::Off, false)), KvType::Q8_0);
    assert_eq!(kv_type(int8(TuneMode::Auto, false)), KvType::Q8_0);
    // What is remembered is used beside others too.
    if tune::recall(directory.path(), &Machine::this().unwrap(), DIGEST, 1).is_some() {
        assert_eq!(kv_type(int8(TuneMode::Auto, true)), KvType::Q8_0);
    }
}

#[test]
fn eight_bits_need_a_measurement() {
    support::alone("tuning::child_eight_bits_need_a_measurement");
}

#[test]
fn a_profile_tells_memory_speed_and_perplexity() {
    let mut options = support::options();
    options.slots = 1;
    let profile = tune::profile(&support::weights(), &options).unwrap();
    assert_eq!(profile.quantisation, "Q4_1");
    assert!(profile.weights_bytes > 90_000_000 && profile.kv_bytes == 1024 * 23_040, "{profile:?}");
    assert!(profile.resident_bytes.is_none_or(|bytes| bytes > profile.weights_bytes), "{profile:?}");
}
