use std::collections::HashMap;

use proptest::prelude::*;

use llmo_core::model::{DryParams, MirostatParams};

use super::*;

fn params(change: impl FnOnce(&mut SamplingParams)) -> SamplingParams {
    let mut params = SamplingParams::at_temperature(1.0);
    params.seed = Some(7);
    change(&mut params);
    params
}

fn sampler(params: &SamplingParams, vocab: usize) -> Sampler {
    Sampler::new(params, vocab, &Arc::new(Letters)).unwrap()
}

/// Token 0 is "a", token 26 is "a" again, and so on.
#[derive(Debug)]
pub(super) struct Letters;

impl TokenTexts for Letters {
    fn text(&self, token: TokenId) -> &[u8] {
        let letter = token as usize % 26;
        &b"abcdefghijklmnopqrstuvwxyz"[letter..=letter]
    }
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
    let error = Sampler::new(&params(|p| p.logit_bias = vec![(4, 1.0)]), 4, &Arc::new(Letters)).unwrap_err();
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
    penalised.prime(&[0], 0);
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
        penalised.prime(&[1, 1, 1], 0);
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
    whole.prime(&[1, 2, 3], 0);
    let tokens = run(&mut whole, 0..10);
    let mut continued = sampler(&p, 50);
    continued.prime(&[&[1, 2, 3], &tokens[..4]].concat(), 0);
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

#[test]
fn a_continued_sequence_has_all_the_state_of_the_first() {
    let everything = params(|p| {
        p.frequency_penalty = 0.7;
        p.presence_penalty = 0.3;
        p.repetition_penalty = 1.1;
        p.penalty_window = 6;
        p.dry = Some(DryParams::default());
    });
    let mirostat = |version| params(|p| p.mirostat = Some(mirostat_params(version)));
    let logits = |step: usize| -> Vec<f32> { (0..80).map(|i| ((i * 7 + step * 13) % 17) as f32 / 4.0).collect() };
    for p in [everything, mirostat(1), mirostat(2)] {
        let prompt = [1, 2, 3, 1, 2, 3];
        let mut whole = sampler(&p, 80);
        whole.prime(&prompt, 0);
        let run = |sampler: &mut Sampler, steps: std::ops::Range<usize>| -> Vec<(TokenId, Option<f32>)> {
            let draw = |step| {
                let token = sampler.sample(&mut logits(step));
                sampler.accept(token);
                (token, sampler.mirostat_mu())
            };
            steps.map(draw).collect()
        };
        let drawn = run(&mut whole, 0..24);
        for cut in [1, 7, 20] {
            let tokens = drawn[..cut].iter().map(|(token, _)| *token);
            let mut p = p.clone();
            if let Some(mirostat) = &mut p.mirostat {
                mirostat.mu = drawn[cut - 1].1;
            }
            let mut continued = sampler(&p, 80);
            continued.prime(&prompt.into_iter().chain(tokens).collect::<Vec<_>>(), cut);
            assert_eq!(run(&mut continued, cut..24), drawn[cut..], "{p:?}");
        }
    }
}

fn mirostat_params(version: u8) -> MirostatParams {
    let mut mirostat = MirostatParams::default();
    (mirostat.version, mirostat.tau) = (version, 3.0);
    mirostat
}

#[test]
fn mirostat_holds_the_surprise_at_its_target() {
    for version in [1, 2] {
        let p = params(|p| p.mirostat = Some(mirostat_params(version)));
        // A Zipfian vocabulary, as language has.
        let logits: Vec<f32> = (1..5_000).map(|rank| -1.1 * (rank as f32).ln()).collect();
        let mut sampler = sampler(&p, logits.len());
        let mut surprises = Vec::new();
        for _ in 0..1_500 {
            let token = sampler.sample(&mut logits.clone());
            surprises.push(-sampler.candidates.probability(token, 1.0).unwrap().log2());
            sampler.accept(token);
        }
        let mean = surprises[500..].iter().sum::<f64>() / 1_000.0;
        assert!((mean - 3.0).abs() < 0.15, "version {version}: {mean}");
    }
}

#[test]
fn dry_stops_a_loop_but_not_across_a_breaker() {
    // "abcdabcdab": after it, "c" (2) would continue a repetition.
    let history = [0, 1, 2, 3, 0, 1, 2, 3, 0, 1];
    let draw = |breakers: &[&str]| {
        let p = params(|p| {
            let mut dry = DryParams::default();
            dry.sequence_breakers = breakers.iter().map(|text| (*text).to_owned()).collect();
            (p.temperature, p.dry) = (0.0, Some(dry));
        });
        let mut sampler = sampler(&p, 26);
        sampler.prime(&history, 0);
        let mut logits = vec![0.0; 26];
        (logits[2], logits[7]) = (5.0, 4.0);
        let token = sampler.sample(&mut logits);
        (token, logits[2])
    };
    // Six tokens are repeated, two are free.
    assert_eq!(draw(&["x"]), (7, 5.0 - 0.8 * 1.75_f32.powi(4)));
    assert_eq!(draw(&["d"]), (2, 5.0 - 0.8), "only the two tokens after the breaker count");
    assert_eq!(draw(&["da"]), (2, 5.0), "a breaker across two tokens leaves one");
    assert_eq!(draw(&["c"]), (2, 5.0), "a breaker itself is never penalised");
}

/// How much of a distribution two sets of candidates don't have in common.
fn difference(got: &[(TokenId, f64)], expected: &[(TokenId, f64)]) -> f64 {
    let lacks = |a: &[(TokenId, f64)], b: &[(TokenId, f64)]| -> f64 {
        let of = |token| b.iter().find(|(other, _)| *other == token).map_or(0.0, |(_, p)| *p);
        a.iter().map(|(token, p)| (p - of(*token)).abs()).sum()
    };
    lacks(got, expected).max(lacks(expected, got))
}

/// What the sampler may draw, with probabilities.
fn distribution(sampler: &mut Sampler, logits: &[f32]) -> Vec<(TokenId, f64)> {
    let mut logits = logits.to_vec();
    sampler.candidates = Candidates::default();
    sampler.sample(&mut logits);
    if sampler.candidates.len() == 0 {
        sampler.candidates.take_all(&logits);
    }
    let temperature = sampler.params.temperature;
    let tokens = sampler.candidates.entries().iter().map(|candidate| candidate.token);
    tokens.map(|token| (token, sampler.candidates.probability(token, temperature).unwrap())).collect()
}

prop_compose! {
    fn any_history()(
        pieces in proptest::collection::vec((0_u32..5, 1_usize..12, 1_usize..4), 1..8),
        generated in any::<prop::sample::Index>(),
    ) -> (Vec<TokenId>, usize) {
        // Repetitive, so that there is something to find.
        let of_piece = |(start, length, times): (u32, usize, usize)| {
            (0..times).flat_map(move |_| (0..length as u32).map(move |i| start + i))
        };
        let tokens: Vec<TokenId> = pieces.into_iter().flat_map(of_piece).collect();
        let generated = generated.index(tokens.len() + 1);
        (tokens, generated)
    }
}

prop_compose! {
    fn penalties_and_dry()(
        repetition in 0.5_f32..=2.0,
        frequency in -1.0_f32..=1.0,
        presence in -1.0_f32..=1.0,
        window in prop_oneof![Just(0_u32), 1_u32..60],
        dry in proptest::option::of((0.1_f32..3.0, 1.0_f32..2.5, 1_u32..5, prop_oneof![Just(0_u32), 1_u32..60])),
        breakers in proptest::collection::vec("[a-h]{1,3}", 0..3),
    ) -> SamplingParams {
        params(|p| {
            (p.repetition_penalty, p.frequency_penalty, p.presence_penalty) = (repetition, frequency, presence);
            p.penalty_window = window;
            p.dry = dry.map(|(multiplier, base, allowed_length, window)| {
                let mut dry = DryParams::default();
                (dry.multiplier, dry.base, dry.allowed_length) = (multiplier, base, allowed_length);
                (dry.window, dry.sequence_breakers) = (window, breakers);
                dry
            });
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
            sampler.prime(&[0], 0);
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
        quick.take_nucleus(&logits, softmax::max(&logits), mass, 0.0);
        let mut sorted: Vec<f64> = logits.iter().map(|l| f64::from(*l).exp()).collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let total: f64 = sorted.iter().sum();
        let mut held = 0.0;
        let expected = 1 + sorted.iter().take_while(|w| { held += **w / total; held < f64::from(mass) }).count();
        // One either way: the two sums round differently.
        prop_assert!(quick.len().abs_diff(expected) <= 1, "{} for {}", quick.len(), expected);
    }

    #[test]
    fn penalties_and_dry_are_those_of_the_reference(
        p in penalties_and_dry(),
        (history, generated) in any_history(),
        logits in proptest::collection::vec(-5.0_f32..5.0, 40),
    ) {
        let mut sampler = sampler(&p, 40);
        sampler.prime(&history, generated);
        let mut got = logits.clone();
        sampler.adjust(&mut got);
        let expected = reference::adjusted(&p, &logits, &history, generated, &Letters);
        for (token, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let scale = expected.abs().max(1.0);
            prop_assert!((got - expected).abs() <= 1e-4 * scale, "token {token}: {got}, not {expected}; {history:?} {p:?}");
        }
    }

    #[test]
    fn filters_keep_what_the_reference_keeps(
        p in any_params(),
        spread in 1.0_f32..12.0,
        logits in proptest::collection::vec(-1.0_f32..1.0, 2..3_000),
    ) {
        prop_assume!(p.temperature >= 0.01);
        let logits: Vec<f32> = logits.iter().map(|l| l * spread).collect();
        let mut quick = p.clone();
        (quick.repetition_penalty, quick.frequency_penalty) = (1.0, 0.0);
        let got = distribution(&mut sampler(&quick, logits.len()), &logits);
        let expected = reference::filtered(&quick, &logits);
        // One token more or less where sums round differently: its share is what the two then differ by.
        let slack = got.len().abs_diff(expected.len()) <= 1;
        let one = expected.iter().chain(&got).map(|(_, p)| *p).fold(f64::INFINITY, f64::min);
        prop_assert!(slack && difference(&got, &expected) <= 1e-4 + 4.0 * one, "{} for {}", got.len(), expected.len());
    }

    #[test]
    fn mirostat_leaves_what_the_reference_leaves(
        version in 1_u8..=2,
        mu in 0.5_f32..12.0,
        temperature in 0.5_f32..1.5,
        spread in 1.0_f32..12.0,
        logits in proptest::collection::vec(-1.0_f32..1.0, 150..2_000),
    ) {
        let logits: Vec<f32> = logits.iter().map(|l| l * spread).collect();
        let p = params(|p| {
            let mut mirostat = mirostat_params(version);
            mirostat.mu = Some(mu);
            (p.temperature, p.mirostat) = (temperature, Some(mirostat));
        });
        let got = distribution(&mut sampler(&p, logits.len()), &logits);
        let expected = reference::mirostat(&p, &logits);
        prop_assert!(got.len().abs_diff(expected.len()) <= 1, "{} for {}", got.len(), expected.len());
    }
}
