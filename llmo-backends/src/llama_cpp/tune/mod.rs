//! Which options are fast on this machine, found out by measuring.
//!
//! ```text
//! options ─► memory ─► known: filled in
//!              │ unknown
//!              ▼
//!            search (one factor at a time) ◄─► measure (contexts of the loaded model)
//!              │                                  │ perplexity guards the KV type
//!              ▼                                  ▼
//!            confirmed against the default ─► remembered, filled in
//! ```
//!
//! * [`Candidate`]: what is chosen between. `objective`: what "fast" means. `search`: how it is looked for; pure.
//! * `measure`, `perplexity`: the loaded model at work. `profile`: a file's memory, speed and perplexity.
//! * [`machine`](Machine), [`memory`](recall): what is remembered, and for whom.
//!
//! Nothing is measured while another model is loaded in this process, or in another one, as far as whoever loads this one knows
//! ([`Tuning::beside_others`](super::Tuning::beside_others)): its threads would spin beside ours, and its streams would stutter.
//!
//! Keys and values in 8 bits are never taken without a measurement of what that costs in perplexity, whoever wants them: the
//! search, for speed, or [`Tuning::int8_kv`](super::Tuning::int8_kv), for memory.

mod candidate;
mod effort;
mod machine;
mod measure;
mod memory;
mod objective;
mod perplexity;
mod profile;
mod search;

use std::path::Path;
use std::time::UNIX_EPOCH;

use llmo_core::ModelError;
use llmo_core::model::{LoadProgress, LoadStep};

pub use candidate::Candidate;
pub use machine::Machine;
pub use memory::{Record, forget, recall, recall_all};
pub use objective::{Point, Speeds};
pub use profile::{Profile, perplexity_of, profile};
pub use search::{Guard, PERPLEXITY_BOUND, Trial, Verdict};

use super::load::Opened;
use super::options::{KvType, LlamaCppOptions, TuneMode};
use super::{Watch, runtime, sizing};
use candidate::Space;
use search::Outcome;

/// Measures which options are fast for a file, and remembers it where `options.tuning` says. Blocking, for as long as
/// `options.tuning.mode` says. `watch` is told of each candidate when it has been measured.
///
/// # Errors
/// As for [`LlamaCpp::load`](super::LlamaCpp::load); [`ModelError::Unavailable`] while another model is loaded in this
/// process.
pub fn tune(path: &Path, options: &LlamaCppOptions, watch: &mut dyn FnMut(&Trial)) -> Result<Record, ModelError> {
    let opened = Opened::open(path, options)?;
    let machine = Machine::this().map_err(ModelError::Internal)?;
    let record = run(&opened, options, machine, None, watch)?;
    if let (Some(directory), Some(_)) = (&options.tuning.directory, &options.digest) {
        memory::remember(directory, record.clone())
            .map_err(|e| ModelError::Internal(format!("{} can't be written: {e}", directory.display())))?;
    }
    Ok(record)
}

/// Fills in the options that nobody has set, from what is remembered or else measured now. Where neither can be had the
/// options stay as they are: a model must load in any case.
pub(super) fn choose(mut options: LlamaCppOptions, opened: &Opened, watch: &Watch) -> LlamaCppOptions {
    let record = match known_or_measured(&options, opened, watch) {
        Ok(record) => record,
        Err(reason) => {
            tracing::info!(reason, "not tuned");
            None
        }
    };
    if wants_int8(&options) {
        let known = record.as_ref().and_then(|record| record.guard).map(Ok);
        let guard = known.unwrap_or_else(|| measured_guard(&options, opened, watch));
        options.kv_type = Some(kv_type_for(guard));
    }
    if let Some(record) = record {
        record.permitted().fill(&mut options);
    }
    options
}

/// Are 8-bit keys and values wanted, if they cost little enough?
fn wants_int8(options: &LlamaCppOptions) -> bool {
    options.tuning.int8_kv && options.kv_type.is_none() && options.flash_attention != Some(false)
}

/// How keys and values are stored where 8 bits are wanted: only a measurement allows those.
fn kv_type_for(guard: Result<Guard, String>) -> KvType {
    match guard {
        Ok(guard) if guard.allows_int8() => KvType::Q8_0,
        Ok(guard) => {
            tracing::warn!(?guard, "keys and values stay in 16 bits: 8 would cost too much perplexity");
            KvType::F16
        }
        Err(reason) => {
            tracing::warn!(
                reason,
                "keys and values stay in 16 bits: what 8 would cost was not measured (kv_type = \"q8_0\" has them in any case)"
            );
            KvType::F16
        }
    }
}

fn known_or_measured(options: &LlamaCppOptions, opened: &Opened, watch: &Watch) -> Result<Option<Record>, String> {
    let tuning = &options.tuning;
    let (Some(directory), Some(digest)) = (&tuning.directory, &options.digest) else { return Ok(None) };
    if tuning.mode == TuneMode::Off {
        return Ok(None);
    }
    let machine = Machine::this()?;
    let known = recall(directory, &machine, digest, options.slots);
    // What could be better is better than nothing where nothing may be measured.
    let will_do =
        |record: &Record| tuning.beside_others || (record.serves(tuning.mode) && has_what_is_asked(record, options));
    if let Some(record) = known.clone().filter(will_do) {
        return Ok(Some(record));
    }
    let record = run(opened, options, machine, known, &mut tuning_watch(watch)).map_err(|e| e.to_string())?;
    if let Err(error) = memory::remember(directory, record.clone()) {
        tracing::warn!(directory = %directory.display(), %error, "what was measured can't be remembered");
    }
    Ok(Some(record))
}

/// Tells that the model is being measured; how long that goes on depends on what is found.
fn tuning_watch(watch: &Watch) -> impl FnMut(&Trial) {
    watch(LoadProgress::new(LoadStep::Tuning));
    |_| ()
}

/// A guard is measured when somebody wants 8 bits.
fn has_what_is_asked(record: &Record, options: &LlamaCppOptions) -> bool {
    !wants_int8(options) || record.guard.is_some()
}

/// The right to measure, as far as this process and whoever started it know.
fn alone(options: &LlamaCppOptions) -> Result<impl Sized, String> {
    if options.tuning.beside_others {
        return Err("other models are in memory: what is measured beside them says nothing, and slows them down".into());
    }
    let busy = "another model is loaded in this process: what is measured beside it says nothing";
    runtime::alone().ok_or_else(|| busy.to_owned())
}

/// What 8-bit keys and values cost, where nothing else is to be measured.
fn measured_guard(options: &LlamaCppOptions, opened: &Opened, watch: &Watch) -> Result<Guard, String> {
    let _alone = alone(options)?;
    watch(LoadProgress::new(LoadStep::Tuning));
    let shape = sizing::shape(options, opened.size).map_err(|e| e.to_string())?;
    let (_, workload) = effort::of(TuneMode::Auto, options, shape.slots);
    let mut bench = measure::Bench::new(&opened.model, opened.size, &opened.vocabulary, shape, workload);
    bench.fit_text(effort::PERPLEXITY_LIMIT)?;
    search::guard(&mut bench)
}

fn run(
    opened: &Opened,
    options: &LlamaCppOptions,
    machine: Machine,
    before: Option<Record>,
    watch: &mut dyn FnMut(&Trial),
) -> Result<Record, ModelError> {
    let _alone = alone(options).map_err(ModelError::unavailable)?;
    let mode = if options.tuning.mode == TuneMode::Full { TuneMode::Full } else { TuneMode::Auto };
    let mut options = options.clone();
    let shape = sizing::shape(&options, opened.size)?;
    let (plan, workload) = effort::of(mode, &options, shape.slots);
    let mut bench = measure::Bench::new(&opened.model, opened.size, &opened.vocabulary, shape, workload);
    let mut guard = before.as_ref().and_then(|record| record.guard);
    if wants_int8(&options) {
        if guard.is_none() {
            let found = bench.fit_text(effort::PERPLEXITY_LIMIT).and_then(|()| search::guard(&mut bench));
            guard = found.inspect_err(|reason| tracing::warn!(reason, "perplexity was not measured")).ok();
        }
        // Decided by memory, not by speed.
        let allowed = guard.is_some_and(|guard| guard.allows_int8());
        options.kv_type = Some(if allowed { KvType::Q8_0 } else { KvType::F16 });
    }
    let fits = bench.fit(plan.limit);
    let base = Candidate::of(&sizing::shape(&options, opened.size)?);
    let space = Space::of(&options, shape.slots, machine.physical, machine.logical);
    let outcome = match (fits, guard) {
        (Ok(()), _) => search::search(base, &space, &plan, guard, &mut bench, watch).map_err(ModelError::Internal)?,
        // What was found out is worth being remembered.
        (Err(_), Some(_)) if mode == TuneMode::Auto => Outcome::of_default(base, guard),
        (Err(reason), _) => return Err(ModelError::unavailable(reason)),
    };
    let attempts = before.filter(|record| record.noisy).map_or(0, |record| record.attempts) + 1;
    tracing::info!(
        chosen = %outcome.chosen, gain = format!("{:.2}", outcome.gain), noisy = outcome.noisy,
        unfinished = outcome.unfinished, seconds = search::Measure::elapsed(&bench).as_secs_f32(), "tuned"
    );
    Ok(Record {
        machine,
        digest: options.digest.clone().unwrap_or_default(),
        slots: options.slots,
        mode,
        made: UNIX_EPOCH.elapsed().unwrap_or_default().as_secs(),
        chosen: outcome.chosen,
        gain: outcome.gain,
        noisy: outcome.noisy,
        attempts,
        guard: outcome.guard,
        trials: outcome.trials,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_keys_and_values_need_a_measurement_that_allows_them() {
        let guard = |q8_0| Ok(Guard { f16: 12.0, q8_0 });
        assert_eq!(kv_type_for(guard(12.01)), KvType::Q8_0);
        assert_eq!(kv_type_for(guard(12.5)), KvType::F16);
        assert_eq!(kv_type_for(guard(f64::NAN)), KvType::F16);
        assert_eq!(kv_type_for(Err("not measured".into())), KvType::F16);
    }
}
