//! The search on a simulated machine.

use std::time::Duration;

use super::super::objective::Point;
use super::*;

const DEFAULT: Candidate = Candidate {
    threads: 4,
    threads_batch: 4,
    prefill_chunk: 128,
    micro_batch: 128,
    kv_type: KvType::F16,
    flash_attention: true,
    kv_unified: false,
};
const SPACE: Space = Space {
    threads: true,
    threads_batch: true,
    prefill_chunk: true,
    micro_batch: true,
    kv_type: true,
    flash_attention: true,
    slots: 8,
    physical: 4,
    logical: 8,
};

/// A machine whose speeds are a function of the candidate, with noise and drift.
struct Machine<F> {
    speed: F,
    /// Largest factor of a measurement's noise.
    noise: f64,
    /// Factor by which each measurement is slower than the one before.
    drift: f64,
    random: fastrand::Rng,
    perplexities: (f64, f64),
    measured: u32,
}

impl<F: Fn(&Candidate) -> f64> Machine<F> {
    fn new(speed: F) -> Self {
        let random = fastrand::Rng::with_seed(7);
        Self { speed, noise: 1.0, drift: 1.0, random, perplexities: (12.0, 12.01), measured: 0 }
    }
}

impl<F: Fn(&Candidate) -> f64> Measure for Machine<F> {
    fn speeds(&mut self, candidate: &Candidate) -> Result<Speeds, String> {
        self.measured += 1;
        let drift = self.drift.powi(self.measured.cast_signed());
        let points =
            [Point::Prefill { depth: 0 }, Point::Decode { batch: 1, depth: 0 }, Point::Decode { batch: 8, depth: 0 }];
        Ok(points
            .into_iter()
            .map(|point| {
                let noise = self.noise.powf(self.random.f64() * 2.0 - 1.0);
                (point, 100.0 * (self.speed)(candidate) * noise * drift)
            })
            .collect())
    }

    fn perplexity(&mut self, kv_type: KvType) -> Result<f64, String> {
        Ok(if kv_type == KvType::F16 { self.perplexities.0 } else { self.perplexities.1 })
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.measured.into())
    }
}

fn plan() -> Plan {
    let factors = vec![Factor::Attention, Factor::Threads, Factor::Chunk, Factor::Unified];
    Plan { factors, pairs: 3, confirmations: 5, limit: Duration::from_secs(1000), min_gain: 1.03 }
}

fn run<F: Fn(&Candidate) -> f64>(machine: &mut Machine<F>, plan: &Plan) -> Outcome {
    search(DEFAULT, &SPACE, plan, None, machine, &mut |_| ()).unwrap()
}

fn speed(candidate: &Candidate) -> f64 {
    let attention = match (candidate.kv_type, candidate.flash_attention) {
        (KvType::Q8_0, _) => 1.4,
        (KvType::F16, false) => 1.2,
        _ => 1.0,
    };
    let threads = if candidate.threads == 8 { 0.7 } else { f64::from(candidate.threads) / 4.0 };
    attention * threads * if candidate.prefill_chunk == 256 { 1.1 } else { 1.0 }
}

#[test]
fn each_factor_s_best_value_is_found_and_combined() {
    let outcome = run(&mut Machine::new(speed), &plan());
    assert_eq!(outcome.chosen.kv_type, KvType::Q8_0);
    assert_eq!((outcome.chosen.threads, outcome.chosen.prefill_chunk), (4, 256));
    assert!((outcome.gain - 1.54).abs() < 0.01, "{}", outcome.gain);
    assert!(!outcome.noisy && !outcome.unfinished);
    assert_eq!(outcome.trials.iter().filter(|trial| trial.verdict == Verdict::Taken).count(), 1);
}

#[test]
fn noise_and_drift_hide_no_large_gain_and_make_no_small_one() {
    for seed in 0..50 {
        let mut machine = Machine::new(speed);
        (machine.noise, machine.drift, machine.random) = (1.08, 0.995, fastrand::Rng::with_seed(seed));
        let outcome = run(&mut machine, &plan());
        assert_eq!(outcome.chosen.kv_type, KvType::Q8_0, "seed {seed}");
        assert!((1.35..1.75).contains(&outcome.gain), "seed {seed}: {}", outcome.gain);

        let mut machine = Machine::new(|_: &Candidate| 1.0);
        (machine.noise, machine.drift, machine.random) = (1.03, 0.995, fastrand::Rng::with_seed(seed));
        let outcome = run(&mut machine, &plan());
        assert_eq!(outcome.chosen, DEFAULT, "seed {seed}: nothing is faster, and {} was believed", outcome.gain);
    }
}

#[test]
fn a_tie_or_a_gain_below_three_percent_leaves_the_default() {
    let outcome = run(&mut Machine::new(|_| 1.0), &plan());
    assert_eq!((outcome.chosen, outcome.gain), (DEFAULT, 1.0));
    let outcome = run(&mut Machine::new(|c: &Candidate| if c.prefill_chunk == 256 { 1.025 } else { 1.0 }), &plan());
    assert_eq!((outcome.chosen, outcome.gain), (DEFAULT, 1.0));
}

#[test]
fn a_kv_type_that_costs_quality_is_not_taken() {
    let mut machine = Machine::new(speed);
    machine.perplexities = (12.0, 12.07);
    let outcome = run(&mut machine, &plan());
    assert_eq!((outcome.chosen.kv_type, outcome.chosen.flash_attention), (KvType::F16, false));
    assert!(outcome.trials.iter().any(|trial| trial.verdict == Verdict::QualityTooLow));
    machine.perplexities = (12.0, f64::NAN);
    assert_eq!(run(&mut machine, &plan()).chosen.kv_type, KvType::F16);
}

#[test]
fn one_cache_for_all_is_measured_and_never_taken() {
    let outcome = run(&mut Machine::new(|c: &Candidate| if c.kv_unified { 9.0 } else { 1.0 }), &plan());
    assert_eq!(outcome.chosen, DEFAULT);
    let unified = outcome.trials.iter().find(|trial| trial.candidate.kv_unified).unwrap();
    assert_eq!(unified.verdict, Verdict::NotOffered);
    assert!(unified.ratio > 8.0);
}

#[test]
fn a_machine_that_is_busy_decides_nothing() {
    let mut noisy = 0;
    for seed in 0..40 {
        let mut machine = Machine::new(speed);
        (machine.noise, machine.random) = (6.0, fastrand::Rng::with_seed(seed));
        let outcome = run(&mut machine, &plan());
        noisy += u32::from(outcome.noisy);
        assert!(!outcome.noisy || (outcome.chosen, outcome.gain) == (DEFAULT, 1.0), "seed {seed}");
    }
    assert!(noisy >= 30, "{noisy}");
}

#[test]
fn the_time_is_kept() {
    let mut machine = Machine::new(speed);
    let outcome = run(&mut machine, &Plan { limit: Duration::from_secs(6), ..plan() });
    assert!(outcome.unfinished);
    // What was being measured is finished, and the winner confirmed.
    assert!(machine.measured <= 6 + 1 + 2 * 5, "{}", machine.measured);
}

#[test]
fn what_is_hopeless_is_measured_once() {
    let outcome = run(&mut Machine::new(speed), &plan());
    let slow = outcome.trials.iter().find(|trial| trial.candidate.threads == 8).unwrap();
    assert_eq!((slow.samples, slow.verdict), (1, Verdict::Slower));
}
