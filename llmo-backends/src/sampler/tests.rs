use proptest::prelude::*;

use super::*;

fn params(change: impl FnOnce(&mut SamplingParams)) -> SamplingParams {
    let mut params = SamplingParams::at_temperature(1.0);
    params.seed = Some(7);
    change(&mut params);
    params
}

fn sampler(params: &SamplingParams, vocab: usize) -> Sampler {
    Sampler::new(params, vocab).unwrap()
}

/// Every token that `draws` draws from these logits give, with how often.
fn drawn(params: &SamplingParams, logits: &[f32], draws: u32) -> HashMap<TokenId, u32> {
    let mut sampler = sampler(params, logits.len());
    let mut counts = HashMap::new();
    for _ in 0..draws {
        let token = sampler.sample(&mut logits.to_vec());
        sampler.position += 1;
        *counts.entry(token).or_insert(0) += 1;
    }
    counts
}

#[test]
fn greedy_takes_the_first_of_the_likeliest() {
    let mut greedy = sampler(&SamplingParams::greedy(), 4);
    assert_eq!(greedy.sample(&mut [0.0, 3.0, f32::NAN, 3.0]), 1);
}

#[test]
fn a_biased_token_outside_the_vocabulary_is_refused() {
    let error = Sampler::new(&params(|p| p.logit_bias = vec![(4, 1.0)]), 4).unwrap_err();
    assert!(error.to_string().contains("token 4"), "{error}");
}

#[test]
fn bias_decides_between_close_tokens() {
    let p = params(|p| {
        p.temperature = 0.0;
        p.logit_bias = vec![(0, 5.0)];
    });
    let mut biased = sampler(&p, 2);
    assert_eq!(biased.sample(&mut [1.0, 2.0]), 0);
}

#[test]
fn repetition_penalty_reads_prompt_and_output_and_never_favours() {
    let p = params(|p| {
        p.temperature = 0.0;
        p.repetition_penalty = 2.0;
    });
    let mut penalised = sampler(&p, 3);
    penalised.prime(&[0]);
    assert_eq!(penalised.sample(&mut [3.0, 2.0, 0.0]), 1, "3.0 / 2 < 2.0");
    penalised.accept(1);
    assert_eq!(penalised.sample(&mut [-1.0, -1.0, -1.5]), 2, "negative logits are multiplied");
}

#[test]
fn frequency_counts_output_and_presence_does_not_count_twice() {
    let frequency = params(|p| {
        p.temperature = 0.0;
        p.frequency_penalty = 1.0;
    });
    let presence = params(|p| {
        p.temperature = 0.0;
        p.presence_penalty = 1.0;
    });
    for (p, expected) in [(frequency, 1), (presence, 0)] {
        let mut penalised = sampler(&p, 2);
        penalised.prime(&[1, 1, 1]);
        penalised.accept(0);
        penalised.accept(0);
        assert_eq!(penalised.sample(&mut [2.5, 1.0]), expected);
    }
}

#[test]
fn draws_follow_the_distribution() {
    let logits = [0.0, 1.0, 2.0];
    let counts = drawn(&params(|_| {}), &logits, 20_000);
    let total: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
    for (token, logit) in logits.iter().enumerate() {
        let expected = f64::from(*logit).exp() / total;
        let seen = f64::from(counts[&(token as TokenId)]) / 20_000.0;
        assert!((seen - expected).abs() < 0.015, "token {token}: {seen} for {expected}");
    }
}

#[test]
fn filters_keep_exactly_what_they_promise() {
    // Probabilities 0.5, 0.25, 0.125, 0.125.
    let logits: Vec<f32> = [0.5_f32, 0.25, 0.125, 0.125].iter().map(|p| p.ln()).collect();
    let kept = |change: fn(&mut SamplingParams)| {
        let mut kept: Vec<_> = drawn(&params(change), &logits, 2_000).into_keys().collect();
        kept.sort_unstable();
        kept
    };
    assert_eq!(kept(|p| p.top_k = 1), [0]);
    assert_eq!(kept(|p| p.top_k = 3), [0, 1, 2], "of equals, the lower id");
    assert_eq!(kept(|p| p.top_p = 0.5), [0]);
    assert_eq!(kept(|p| p.top_p = 0.7), [0, 1]);
    assert_eq!(kept(|p| p.top_p = 0.8), [0, 1, 2]);
    assert_eq!(kept(|p| p.min_p = 0.4), [0, 1]);
    assert_eq!(kept(|p| p.min_p = 1.0), [0]);
    // Entropy 1.75 bits: token 1 (2 bits) is the most typical, then token 0 (1 bit).
    assert_eq!(kept(|p| p.typical_p = 0.2), [1]);
    assert_eq!(kept(|p| p.typical_p = 0.6), [0, 1]);
}

#[test]
fn a_continued_sequence_draws_what_the_first_would_have() {
    let p = params(|p| p.top_k = 20);
    let logits = |step: u32| -> Vec<f32> { (0..50).map(|i| ((i * 7 + step * 13) % 17) as f32 / 3.0).collect() };
    let run = |sampler: &mut Sampler, steps: std::ops::Range<u32>| -> Vec<TokenId> {
        let draw = |step| {
            let token = sampler.sample(&mut logits(step));
            sampler.accept(token);
            token
        };
        steps.map(draw).collect()
    };
    let mut whole = sampler(&p, 50);
    whole.prime(&[1, 2, 3]);
    let tokens = run(&mut whole, 0..10);
    let mut continued = sampler(&p, 50);
    continued.prime(&[&[1, 2, 3], &tokens[..4]].concat());
    assert_eq!(run(&mut continued, 4..10), tokens[4..]);
}

fn any_logit() -> impl Strategy<Value = f32> {
    prop_oneof![
        20 => -30.0_f32..30.0,
        1 => Just(f32::NAN),
        1 => Just(f32::NEG_INFINITY),
        1 => Just(f32::INFINITY),
        1 => Just(f32::MAX),
    ]
}

prop_compose! {
    fn any_params()(
        temperature in prop_oneof![Just(0.0_f32), 1e-30_f32..1e-3, 0.01_f32..2.0],
        top_k in 0_u32..400,
        top_p in 0.001_f32..=1.0,
        min_p in 0.0_f32..=1.0,
        typical_p in 0.001_f32..=1.0,
        repetition_penalty in 0.01_f32..=2.0,
        frequency_penalty in -2.0_f32..=2.0,
        seed in any::<u64>(),
    ) -> SamplingParams {
        params(|p| {
            p.temperature = temperature;
            p.top_k = top_k;
            p.top_p = top_p;
            p.min_p = min_p;
            p.typical_p = typical_p;
            p.repetition_penalty = repetition_penalty;
            p.frequency_penalty = frequency_penalty;
            p.seed = Some(seed);
        })
    }
}

proptest! {
    #[test]
    fn whatever_the_logits_the_token_is_possible_and_repeatable(
        p in any_params(),
        logits in proptest::collection::vec(any_logit(), 1..600),
    ) {
        let draw = || {
            let mut sampler = sampler(&p, logits.len());
            sampler.prime(&[0]);
            sampler.accept(0);
            sampler.sample(&mut logits.clone())
        };
        let token = draw();
        prop_assert_eq!(token, draw());
        if logits.iter().any(|l| *l > f32::NEG_INFINITY) {
            prop_assert!(logits[token as usize] > f32::NEG_INFINITY);
        }
    }

    #[test]
    fn the_nucleus_does_not_depend_on_how_much_is_sorted(
        logits in proptest::collection::vec(-3.0_f32..3.0, 300..2_000),
        mass in 0.05_f32..0.999,
    ) {
        let mut quick = Candidates::default();
        quick.fill(&logits);
        quick.top_p(mass);
        let mut sorted: Vec<f64> = logits.iter().map(|l| f64::from(*l).exp()).collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let total: f64 = sorted.iter().sum();
        let mut held = 0.0;
        let expected = 1 + sorted.iter().take_while(|w| { held += **w / total; held < f64::from(mass) }).count();
        // One either way: the two sums round differently.
        prop_assert!(quick.len().abs_diff(expected) <= 1, "{} for {}", quick.len(), expected);
    }
}
