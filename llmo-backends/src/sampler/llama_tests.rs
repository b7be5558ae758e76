//! The samplers against llama.cpp's own: the same candidates, the same probabilities.

use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;
use llmo_core::model::{DryParams, MirostatParams};

use super::tests::Letters;
use super::*;

const VOCABULARY: usize = 5_000;

/// Logits like those of a language model: a few likely tokens, a long tail.
fn logits(seed: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    let steepness = 1.0 + 2.0 * random.f32();
    let mut logits: Vec<f32> =
        (1..=VOCABULARY).map(|rank| 12.0 - steepness * (rank as f32).ln() + 0.5 * random.f32()).collect();
    random.shuffle(&mut logits);
    logits
}

fn array(logits: &[f32]) -> LlamaTokenDataArray {
    LlamaTokenDataArray::from_iter(
        (0..).zip(logits).map(|(token, &logit)| LlamaTokenData::new(LlamaToken(token), logit, 0.0)),
        false,
    )
}

/// What llama.cpp's samplers leave, by token.
fn theirs(logits: &[f32], samplers: Vec<LlamaSampler>) -> Vec<(TokenId, f32)> {
    let mut chain = LlamaSampler::chain_simple(samplers);
    let array = array(logits).with_sampler(&mut chain);
    let mut left: Vec<_> = array.data.iter().map(|data| (data.id().0 as TokenId, data.logit())).collect();
    left.sort_by_key(|(token, _)| *token);
    left
}

/// What ours leaves, by token, with its logit at the temperature.
fn ours(params: &SamplingParams, logits: &[f32]) -> Vec<(TokenId, f32)> {
    let mut sampler = Sampler::new(params, logits.len(), &Arc::new(Letters)).unwrap();
    sampler.sample(&mut logits.to_vec());
    let mut left: Vec<_> =
        sampler.candidates.entries().iter().map(|c| (c.token, c.logit / params.temperature)).collect();
    left.sort_by_key(|(token, _)| *token);
    left
}

fn params(change: impl FnOnce(&mut SamplingParams)) -> SamplingParams {
    let mut params = SamplingParams::at_temperature(0.8);
    params.seed = Some(1);
    change(&mut params);
    params
}

/// llama.cpp sums in f32: where the mass is reached may differ by a token.
fn assert_same(ours: &[(TokenId, f32)], theirs: &[(TokenId, f32)], slack: usize, what: &str) {
    let tokens =
        |left: &[(TokenId, f32)]| left.iter().map(|(token, _)| *token).collect::<std::collections::HashSet<_>>();
    let different = tokens(ours).symmetric_difference(&tokens(theirs)).count();
    assert!(different <= slack, "{what}: {} and {} candidates, {different} different", ours.len(), theirs.len());
    for (token, logit) in ours {
        if let Some((_, other)) = theirs.iter().find(|(other, _)| other == token) {
            assert!((logit - other).abs() < 1e-3, "{what}: token {token} has {logit}, not {other}");
        }
    }
}

#[test]
fn filters_leave_what_llama_cpp_s_leave() {
    for seed in 0..20 {
        let logits = logits(seed);
        let temp = || LlamaSampler::temp(0.8);
        for k in [1, 5, 40, 1_000] {
            let theirs = theirs(&logits, vec![LlamaSampler::top_k(k), temp()]);
            assert_same(&ours(&params(|p| p.top_k = k as u32), &logits), &theirs, 0, "top_k");
        }
        for mass in [0.1, 0.5, 0.9, 0.99] {
            let nucleus = theirs(&logits, vec![LlamaSampler::top_p(mass, 1), temp()]);
            assert_same(&ours(&params(|p| p.top_p = mass), &logits), &nucleus, 1, "top_p");
            let typical = theirs(&logits, vec![LlamaSampler::typical(mass, 1), temp()]);
            assert_same(&ours(&params(|p| p.typical_p = mass), &logits), &typical, 1, "typical_p");
        }
        for share in [0.01, 0.05, 0.5] {
            let theirs = theirs(&logits, vec![LlamaSampler::min_p(share, 1), temp()]);
            assert_same(&ours(&params(|p| p.min_p = share), &logits), &theirs, 0, "min_p");
        }
        // llama-server's defaults, all together.
        let all = vec![
            LlamaSampler::top_k(40),
            LlamaSampler::typical(0.95, 1),
            LlamaSampler::top_p(0.95, 1),
            LlamaSampler::min_p(0.05, 1),
            temp(),
        ];
        let ours = ours(&params(|p| (p.top_k, p.typical_p, p.top_p, p.min_p) = (40, 0.95, 0.95, 0.05)), &logits);
        assert_same(&ours, &theirs(&logits, all), 1, "all");
    }
}

#[test]
fn penalties_are_llama_cpp_s() {
    let logits = logits(3);
    let mut random = fastrand::Rng::with_seed(9);
    let history: Vec<TokenId> = (0..300).map(|_| random.u32(..200)).collect();
    for window in [1_u32, 64, 300] {
        let mut penalties = LlamaSampler::penalties(VOCABULARY as i32, window as i32, 1.3, 0.4, 0.6);
        penalties.accept_many(history.iter().map(|&token| LlamaToken(token as i32)));
        let theirs: Vec<f32> =
            array(&logits).with_sampler(&mut penalties).data.iter().map(LlamaTokenData::logit).collect();
        let params = params(|p| {
            (p.repetition_penalty, p.frequency_penalty, p.presence_penalty) = (1.3, 0.4, 0.6);
            p.penalty_window = window;
        });
        let mut sampler = Sampler::new(&params, VOCABULARY, &Arc::new(Letters)).unwrap();
        // llama.cpp counts the prompt as generated.
        sampler.prime(&history, history.len());
        let mut ours = logits.clone();
        sampler.adjust(&mut ours);
        assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-4), "window {window}");
    }
}

#[test]
fn mirostat_learns_as_llama_cpp_does() {
    for version in [1, 2] {
        for seed in 0..20 {
            let logits = logits(seed);
            let mut mirostat = MirostatParams::default();
            (mirostat.version, mirostat.tau, mirostat.eta) = (version, 4.0, 0.2);
            let params = params(|p| p.mirostat = Some(mirostat));
            let mut theirs = LlamaSampler::chain_simple([
                LlamaSampler::temp(0.8),
                match version {
                    1 => LlamaSampler::mirostat(VOCABULARY as i32, 7, 4.0, 0.2, 100),
                    _ => LlamaSampler::mirostat_v2(7, 4.0, 0.2),
                },
            ]);
            let mut ours = Sampler::new(&params, VOCABULARY, &Arc::new(Letters)).unwrap();
            // Their mu can't be asked for; what they leave of the same logits follows from it. Ours is told their token.
            for step in 0..30 {
                let left = array(&logits).with_sampler(&mut theirs);
                ours.sample(&mut logits.clone());
                let kept = ours.candidates.len();
                let close = kept.abs_diff(left.data.len()) <= 1 + left.data.len() / 500;
                assert!(close, "version {version}, step {step}: {kept} candidates, not {}", left.data.len());
                let token = left.selected_token().unwrap().0 as TokenId;
                let (probability, expected) =
                    (ours.candidates.probability(token, 0.8).unwrap(), left.data[left.selected.unwrap()].p());
                assert!((probability / f64::from(expected) - 1.0).abs() < 0.01, "{probability}, not {expected}");
                ours.accept(token);
            }
        }
    }
}

#[test]
fn dry_is_llama_cpp_s() {
    use llama_cpp_2::model::LlamaModel;
    use llama_cpp_2::model::params::LlamaModelParams;

    use crate::llama_cpp::TestVocabulary;

    let Some(path) = TestVocabulary::file() else { panic!("no weights: run `./run_microservices.sh test`") };
    let backend = TestVocabulary::backend();
    let model = Arc::new(LlamaModel::load_from_file(backend, path, &LlamaModelParams::default()).unwrap());
    let table = TestVocabulary::table(&model);
    let text = "Once upon a time: the cat sat on the mat. Once upon a time: the dog sat on the mat.\nOnce upon a time: \
                the cat sat on the mat and sat on the mat and sat on";
    let history: Vec<LlamaToken> = model.vocab().tokenize(text.as_bytes(), false, false);
    let vocabulary = model.n_vocab() as usize;
    let breakers = ["\n", ":", "\"", "*"];
    for length in 1..=history.len() {
        for (allowed, window) in [(1, 1_000), (2, 1_000), (3, 12)] {
            let mut dry = LlamaSampler::dry(&model, 0.8, 1.75, allowed, window, breakers);
            dry.accept_many(&history[..length]);
            let logits = vec![1.0; vocabulary];
            let theirs: Vec<f32> =
                array(&logits).with_sampler(&mut dry).data.iter().map(LlamaTokenData::logit).collect();
            let params = params(|p| {
                let mut dry = DryParams::default();
                (dry.allowed_length, dry.window) = (allowed as u32, window as u32);
                p.dry = Some(dry);
            });
            let mut sampler = Sampler::new(&params, vocabulary, &table).unwrap();
            let tokens: Vec<TokenId> = history[..length].iter().map(|token| token.0 as TokenId).collect();
            sampler.prime(&tokens, 0);
            let mut ours = logits;
            sampler.adjust(&mut ours);
            for (token, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                assert!((ours - theirs).abs() < 1e-3 * theirs.abs().max(1.0), "{length} {token}: {ours}, not {theirs}");
            }
        }
    }
}
