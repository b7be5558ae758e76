//! What choosing a token costs, over a vocabulary of 49 152 (SmolLM2's). A step of the model takes milliseconds.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use llmo_backends::sampler::{Sampler, TokenTexts};
use llmo_core::model::{DryParams, MirostatParams, SamplingParams, TokenId};

const VOCABULARY: usize = 49_152;
/// Tokens before the one that is chosen, for samplers that look back.
const HISTORY: usize = 2_048;

#[derive(Debug)]
struct Words;

impl TokenTexts for Words {
    fn text(&self, token: TokenId) -> &[u8] {
        if token.is_multiple_of(50) { b"\n" } else { b" word" }
    }
}

/// A few likely tokens and a long tail, as language models have it.
fn logits() -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut logits: Vec<f32> =
        (1..=VOCABULARY).map(|rank| 18.0 - 1.6 * (rank as f32).ln() + 0.5 * random.f32()).collect();
    random.shuffle(&mut logits);
    logits
}

fn samplers() -> Vec<(&'static str, SamplingParams)> {
    let sampled = |change: fn(&mut SamplingParams)| {
        let mut params = SamplingParams::at_temperature(0.8);
        params.seed = Some(7);
        change(&mut params);
        params
    };
    let mirostat = |version| {
        let mut params = sampled(|_| {});
        let mut mirostat = MirostatParams::default();
        mirostat.version = version;
        params.mirostat = Some(mirostat);
        params
    };
    vec![
        ("greedy", SamplingParams::greedy()),
        ("temperature", sampled(|_| {})),
        ("top_k 40", sampled(|p| p.top_k = 40)),
        ("top_p 0.95", sampled(|p| p.top_p = 0.95)),
        ("min_p 0.05", sampled(|p| p.min_p = 0.05)),
        ("typical_p 0.95", sampled(|p| p.typical_p = 0.95)),
        ("top_k 40, top_p 0.95, min_p 0.05", sampled(|p| (p.top_k, p.top_p, p.min_p) = (40, 0.95, 0.05))),
        ("penalties", sampled(|p| (p.top_k, p.repetition_penalty, p.frequency_penalty) = (40, 1.1, 0.2))),
        ("dry", sampled(|p| (p.top_k, p.dry) = (40, Some(DryParams::default())))),
        ("mirostat 1", mirostat(1)),
        ("mirostat 2", mirostat(2)),
    ]
}

fn sampling(c: &mut Criterion) {
    let logits = logits();
    let mut random = fastrand::Rng::with_seed(2);
    let history: Vec<TokenId> = (0..HISTORY).map(|_| random.u32(..500)).collect();
    let mut group = c.benchmark_group("sampling");
    for (name, params) in samplers() {
        let Ok(mut sampler) = Sampler::new(&params, VOCABULARY, &Arc::new(Words)) else { continue };
        sampler.prime(&history, HISTORY / 2);
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || logits.clone(),
                |logits| sampler.sample(black_box(logits)),
                BatchSize::NumIterations(64),
            );
        });
    }
    group.finish();
}

criterion_group!(benches, sampling);
criterion_main!(benches);
