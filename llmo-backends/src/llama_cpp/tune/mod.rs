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
//! Nothing is measured while another model is loaded in this process: its threads would spin beside ours.

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

pub use candidate::Candidate;
pub use machine::Machine;
pub use memory::{Record, forget, recall, recall_all};
pub use objective::{Point, Speeds};
pub use profile::{Profile, perplexity_of, profile};
pub use search::{Guard, PERPLEXITY_BOUND, Trial, Verdict};

use super::load::Opened;
use super::options::{KvType, LlamaCppOptions, TuneMode};
use super::{runtime, sizing};
use candidate::Space;

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
pub(super) fn choose(mut options: LlamaCppOptions, opened: &Opened) -> LlamaCppOptions {
    let record = match known_or_measured(&options, opened) {
        Ok(record) => record,
        Err(reason) => {
            tracing::info!(reason, "not tuned");
            None
        }
    };
    if options.tuning.int8_kv && options.kv_type.is_none() && options.flash_attention != Some(false) {
        let guard = record.as_ref().and_then(|record| record.guard);
        if guard.is_none_or(|guard| guard.allows_int8()) {
            options.kv_type = Some(KvType::Q8_0);
        } else {
            tracing::warn!(?guard, "keys and values stay in 16 bits: 8 would cost too much perplexity");
            options.kv_type = Some(KvType::F16);
        }
    }
    if let Some(record) = record {
        record.chosen.fill(&mut options);
    }
    options
}

fn known_or_measured(options: &LlamaCppOptions, opened: &Opened) -> Result<Option<Record>, String> {
    let tuning = &options.tuning;
    let (Some(directory), Some(digest)) = (&tuning.directory, &options.digest) else { return Ok(None) };
    if tuning.mode == TuneMode::Off {
        return Ok(None);
    }
    let machine = Machine::this()?;
    let known = recall(directory, &machine, digest, options.slots);
    if let Some(record) =
        known.clone().filter(|record| record.serves(tuning.mode) && has_what_is_asked(record, options))
    {
        return Ok(Some(record));
    }
    let record = run(opened, options, machine, known, &mut |_| ()).map_err(|e| e.to_string())?;
    if let Err(error) = memory::remember(directory, record.clone()) {
        tracing::warn!(directory = %directory.display(), %error, "what was measured can't be remembered");
    }
    Ok(Some(record))
}

/// A guard is measured when somebody wants 8 bits.
fn has_what_is_asked(record: &Record, options: &LlamaCppOptions) -> bool {
    !options.tuning.int8_kv || options.kv_type.is_some() || record.guard.is_some()
}

fn run(
    opened: &Opened,
    options: &LlamaCppOptions,
    machine: Machine,
    before: Option<Record>,
    watch: &mut dyn FnMut(&Trial),
) -> Result<Record, ModelError> {
    let busy = |reason: &str| ModelError::unavailable(reason.to_owned());
    let Some(_alone) = runtime::alone() else {
        return Err(busy("another model is loaded in this process: what is measured beside it says nothing"));
    };
    let mode = if options.tuning.mode == TuneMode::Full { TuneMode::Full } else { TuneMode::Auto };
    let mut options = options.clone();
    let shape = sizing::shape(&options, opened.size)?;
    let (plan, workload) = effort::of(mode, &options, shape.slots);
    let mut bench = measure::Bench::new(&opened.model, opened.size, &opened.vocabulary, shape, workload);
    let internal = ModelError::Internal;
    bench.fit(plan.limit).map_err(|reason| busy(&reason))?;
    let mut guard = before.as_ref().and_then(|record| record.guard);
    if options.tuning.int8_kv && options.kv_type.is_none() && options.flash_attention != Some(false) {
        let found = match guard {
            Some(guard) => guard,
            None => search::guard(&mut bench).map_err(internal)?,
        };
        guard = Some(found);
        // Decided by memory, not by speed.
        options.kv_type = Some(if found.allows_int8() { KvType::Q8_0 } else { KvType::F16 });
    }
    let base = Candidate::of(&sizing::shape(&options, opened.size)?);
    let space = Space::of(&options, shape.slots, machine.physical, machine.logical);
    let outcome = search::search(base, &space, &plan, guard, &mut bench, watch).map_err(internal)?;
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
