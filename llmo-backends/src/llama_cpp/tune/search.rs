//! The search: one factor at a time from the default, repeats interleaved, the winner confirmed against the default.
//!
//! Six options with two to three values each make hundreds of combinations; measuring each takes a second or more. The
//! options hardly depend on each other, so the best value of one is found while the others stay, the most important first.
//!
//! Machines are noisy, and their noise drifts: two candidates are only compared by measurements taken next to each other
//! (`a b a b …`), by the median of the ratios of such pairs. One that is clearly slower at first is dropped at once. What
//! won is measured against the default once more, and taken only if it is faster by [`Plan::min_gain`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::candidate::{Candidate, Factor, Space};
use super::objective::{Speeds, median, medians, ratio};
use crate::llama_cpp::options::KvType;

/// Does the measuring.
pub(super) trait Measure {
    /// Speeds of a candidate.
    fn speeds(&mut self, candidate: &Candidate) -> Result<Speeds, String>;
    /// Perplexity of the shipped text with this KV cache.
    fn perplexity(&mut self, kv_type: KvType) -> Result<f64, String>;
    /// Time since the beginning.
    fn elapsed(&self) -> Duration;
}

/// How much to measure.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// What to vary, in this order.
    pub(super) factors: Vec<Factor>,
    /// Pairs of measurements for each alternative.
    pub(super) pairs: usize,
    /// Pairs of measurements that confirm the winner.
    pub(super) confirmations: usize,
    /// After this long nothing new is tried.
    pub(super) limit: Duration,
    /// A winner is taken if it is so many times as fast as the default.
    pub(super) min_gain: f64,
}

/// An alternative whose first measurement is so many times as fast as the best is not measured again.
const HOPELESS: f64 = 0.93;
/// Repeats of the same candidate may differ by this factor. Beyond it the machine is busy with other things.
const MOST_NOISE: f64 = 1.25;
/// Most that perplexity may rise with another KV type: half a percent, a fifth of what 4-bit weights cost.
pub const PERPLEXITY_BOUND: f64 = 1.005;

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// What is used without tuning.
    Default,
    /// Slower than the best, or not faster.
    Slower,
    /// The best of its factor, or the last winner without being confirmed.
    Faster,
    /// Faster, and worse in what it writes.
    QualityTooLow,
    /// Measured for comparison only.
    NotOffered,
    /// Could not be run.
    Failed,
    /// What is used from now on instead of the default.
    Taken,
}

/// What was found out about a candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Trial {
    /// The options.
    pub candidate: Candidate,
    /// Median speeds.
    pub speeds: Speeds,
    /// How many times as fast as the default.
    pub ratio: f64,
    /// Measurements.
    pub samples: usize,
    /// What became of it.
    pub verdict: Verdict,
}

/// Perplexity of the shipped text with both KV types.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Guard {
    /// With 16-bit floats.
    pub f16: f64,
    /// With 8-bit integers.
    pub q8_0: f64,
}

impl Guard {
    /// May keys and values be kept in 8 bits?
    #[must_use]
    pub fn allows_int8(&self) -> bool {
        // Not a number is no permission.
        self.q8_0 <= self.f16 * PERPLEXITY_BOUND
    }
}

/// The end of a search.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// What to use.
    pub(super) chosen: Candidate,
    /// How many times as fast as the default, as confirmed; 1 for the default.
    pub(super) gain: f64,
    /// Everything that was tried, the default first.
    pub(super) trials: Vec<Trial>,
    /// Set if a KV type had to be judged.
    pub(super) guard: Option<Guard>,
    /// Repeats differed too much to decide anything.
    pub(super) noisy: bool,
    /// The time was over before everything was tried.
    pub(super) unfinished: bool,
}

impl Outcome {
    /// Nothing was tried.
    pub(super) fn of_default(base: Candidate, guard: Option<Guard>) -> Self {
        Self { chosen: base, gain: 1.0, trials: Vec::new(), guard, noisy: false, unfinished: true }
    }
}

/// Compares both KV types.
pub(super) fn guard(measure: &mut dyn Measure) -> Result<Guard, String> {
    Ok(Guard { f16: measure.perplexity(KvType::F16)?, q8_0: measure.perplexity(KvType::Q8_0)? })
}

/// Looks for something faster than `base`. `watch` is told of each trial when it is over.
///
/// # Errors
/// If the default itself can't be measured.
pub(super) fn search(
    base: Candidate,
    space: &Space,
    plan: &Plan,
    known_guard: Option<Guard>,
    measure: &mut dyn Measure,
    watch: &mut dyn FnMut(&Trial),
) -> Result<Outcome, String> {
    // The first run pays for what is only paid once: pages of the file, caches, clock speeds.
    measure.speeds(&base)?;
    let first = measure.speeds(&base)?;
    let mut search =
        Search { plan, measure, watch, runs: vec![Run::new(base, first)], guard: known_guard, late: false };
    search.tell(0);
    let mut best = 0;
    for factor in &plan.factors {
        let mut winner = (best, 1.0);
        for alternative in space.alternatives(*factor, search.runs[best].candidate) {
            if search.is_late() {
                break;
            }
            let (index, gain) = search.compare(alternative, best);
            let offered = *factor != Factor::Unified;
            if !offered {
                search.runs[index].verdict = Verdict::NotOffered;
            } else if gain > winner.1 {
                if search.quality_holds(alternative, base) {
                    winner = (index, gain);
                } else {
                    search.runs[index].verdict = Verdict::QualityTooLow;
                }
            }
            search.tell(index);
        }
        // A step of a factor may be smaller than what is asked of the whole.
        if winner.1 >= 1.0 + (plan.min_gain - 1.0) / 2.0 {
            best = winner.0;
            search.runs[best].verdict = Verdict::Faster;
        }
    }
    Ok(search.finish(best))
}

struct Run {
    candidate: Candidate,
    samples: Vec<Speeds>,
    verdict: Verdict,
}

impl Run {
    fn new(candidate: Candidate, first: Speeds) -> Self {
        Self { candidate, samples: vec![first], verdict: Verdict::Slower }
    }
}

struct Search<'a> {
    plan: &'a Plan,
    measure: &'a mut dyn Measure,
    watch: &'a mut dyn FnMut(&Trial),
    /// The default first.
    runs: Vec<Run>,
    guard: Option<Guard>,
    late: bool,
}

impl Search<'_> {
    fn is_late(&mut self) -> bool {
        self.late |= self.measure.elapsed() >= self.plan.limit;
        self.late
    }

    /// Measures an alternative against a run; gives its own run and how many times as fast it is.
    fn compare(&mut self, alternative: Candidate, against: usize) -> (usize, f64) {
        let mut ratios = Vec::new();
        let index = self.runs.len();
        self.runs.push(Run { candidate: alternative, samples: Vec::new(), verdict: Verdict::Slower });
        for pair in 0..self.plan.pairs {
            match self.measure.speeds(&alternative) {
                Ok(speeds) => self.runs[index].samples.push(speeds),
                Err(error) => {
                    tracing::warn!(candidate = %alternative, error, "could not be measured");
                    self.runs[index].verdict = Verdict::Failed;
                    return (index, 0.0);
                }
            }
            // The measurement of the other one that was taken last is the first one's partner.
            let last = |run: &Run| run.samples.last().cloned().unwrap_or_default();
            ratios.push(ratio(&last(&self.runs[index]), &last(&self.runs[against])));
            let hopeless = pair == 0 && ratios[0] < HOPELESS;
            if hopeless || pair + 1 == self.plan.pairs || self.is_late() {
                break;
            }
            let candidate = self.runs[against].candidate;
            match self.measure.speeds(&candidate) {
                Ok(speeds) => self.runs[against].samples.push(speeds),
                Err(_) => break,
            }
        }
        (index, median(ratios))
    }

    /// Perplexity is measured when somebody wants another KV type, once.
    fn quality_holds(&mut self, candidate: Candidate, base: Candidate) -> bool {
        if candidate.kv_type != KvType::Q8_0 || base.kv_type == KvType::Q8_0 {
            return true;
        }
        if self.guard.is_none() {
            match guard(self.measure) {
                Ok(found) => self.guard = Some(found),
                Err(error) => tracing::warn!(error, "perplexity could not be measured; the KV cache stays as it is"),
            }
        }
        self.guard.is_some_and(|guard| guard.allows_int8())
    }

    /// Confirms the winner, and decides.
    fn finish(mut self, best: usize) -> Outcome {
        let mut gain = 1.0;
        let mut taken = 0;
        if best != 0 {
            let mut ratios = Vec::new();
            for _ in 0..self.plan.confirmations {
                let (a, b) = (self.runs[0].candidate, self.runs[best].candidate);
                let (Ok(default), Ok(winner)) = (self.measure.speeds(&a), self.measure.speeds(&b)) else { break };
                ratios.push(ratio(&winner, &default));
                self.runs[0].samples.push(default);
                self.runs[best].samples.push(winner);
            }
            let better = ratios.iter().filter(|ratio| **ratio > 1.0).count();
            let confirmed = median(ratios.clone());
            if ratios.len() == self.plan.confirmations
                && confirmed >= self.plan.min_gain
                && 3 * better >= 2 * ratios.len()
            {
                (taken, gain) = (best, confirmed);
            }
        }
        let noisy = self.noise() > MOST_NOISE;
        if noisy {
            (taken, gain) = (0, 1.0);
        }
        if taken != 0 {
            self.runs[taken].verdict = Verdict::Taken;
        }
        let trials = (0..self.runs.len()).map(|index| self.trial(index)).collect();
        let chosen = self.runs[taken].candidate;
        Outcome { chosen, gain, trials, guard: self.guard, noisy, unfinished: self.late }
    }

    /// How much repeats of the default differ: the median of the factors between neighbours.
    fn noise(&self) -> f64 {
        let samples = &self.runs[0].samples;
        let factors = samples.windows(2).map(|pair| ratio(&pair[0], &pair[1])).map(|r| r.max(1.0 / r));
        median(factors.collect()).max(1.0)
    }

    fn trial(&self, index: usize) -> Trial {
        let run = &self.runs[index];
        let speeds = medians(&run.samples);
        let verdict = if index == 0 { Verdict::Default } else { run.verdict };
        let ratio = if speeds.is_empty() { 0.0 } else { ratio(&speeds, &medians(&self.runs[0].samples)) };
        Trial { candidate: run.candidate, speeds, ratio, samples: run.samples.len(), verdict }
    }

    fn tell(&mut self, index: usize) {
        let trial = self.trial(index);
        (self.watch)(&trial);
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
