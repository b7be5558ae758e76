//! What a file costs and gives: memory, speed and perplexity as measured, for comparing two ways of storing one model.

use std::path::Path;
use std::time::{Duration, Instant};

use llmo_core::ModelError;
use serde::{Deserialize, Serialize};

use super::measure::{Bench, STRIDE, Workload};
use super::objective::Point;
use super::search::Measure;
use super::{Candidate, effort, perplexity};
use crate::llama_cpp::context::Context;
use crate::llama_cpp::load::Opened;
use crate::llama_cpp::options::{KvType, LlamaCppOptions};
use crate::llama_cpp::sizing;

/// Models that take longer for one measurement are only weighed.
const LONGEST: Duration = Duration::from_secs(30);

/// What a file costs and gives on this machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Profile {
    /// How the weights are stored, such as `Q8_0`.
    pub quantisation: String,
    /// How keys and values are stored.
    pub kv_type: KvType,
    /// Bytes of the weights.
    pub weights_bytes: u64,
    /// Bytes of the KV cache of all slots.
    pub kv_bytes: u64,
    /// Memory of this process with the model loaded and the KV cache made, in bytes; `None` where the system doesn't tell.
    /// Right only in a process that has done nothing else.
    pub resident_bytes: Option<u64>,
    /// Tokens a second of reading a prompt; `None` if the model is too slow to be measured in passing.
    pub prefill: Option<f64>,
    /// Tokens a second of one stream.
    pub decode: Option<f64>,
    /// Tokens a second of eight streams together.
    pub decode_of_eight: Option<f64>,
    /// Perplexity of the shipped text.
    pub perplexity: Option<f64>,
    /// Seconds that it took to find out.
    pub seconds: f64,
}

/// Loads a file and measures it. Blocking, for some seconds. What `options` leave open are the defaults.
///
/// # Errors
/// As for [`LlamaCpp::load`](crate::llama_cpp::LlamaCpp::load).
pub fn profile(path: &Path, options: &LlamaCppOptions) -> Result<Profile, ModelError> {
    let begun = Instant::now();
    let opened = Opened::open(path, options)?;
    let shape = sizing::shape(options, opened.size)?;
    let workload = Workload {
        batches: vec![1, 8],
        depths: vec![STRIDE],
        steps: 16,
        kv_bytes: effort::kv_bytes(options),
        text: 2048,
    };
    // As it will be served, so that the memory is that of serving.
    let context = Context::new(&opened.model, &shape).map_err(ModelError::Internal)?;
    let mut bench = Bench::new(&opened.model, opened.size, &opened.vocabulary, shape, workload);
    let estimate = bench.estimate().map_err(ModelError::Internal)?;
    let resident_bytes = resident();
    drop(context);
    let mut profile = Profile {
        quantisation: opened.weights.quantisation.to_string(),
        kv_type: shape.kv_type,
        weights_bytes: opened.model.size(),
        kv_bytes: opened.size.kv_bytes(&shape),
        resident_bytes,
        prefill: None,
        decode: None,
        decode_of_eight: None,
        perplexity: None,
        seconds: 0.0,
    };
    if estimate <= LONGEST {
        let speeds = bench.speeds(&Candidate::of(&shape)).map_err(ModelError::Internal)?;
        let at = |point: Point| speeds.iter().find(|(p, _)| *p == point).map(|(_, speed)| *speed);
        profile.prefill = at(Point::Prefill { depth: 0 });
        profile.decode = at(Point::Decode { batch: 1, depth: 0 });
        profile.decode_of_eight = at(Point::Decode { batch: 8, depth: 0 });
        let text = perplexity::PROSE;
        profile.perplexity = Some(bench.perplexity_of(text, shape.kv_type).map_err(ModelError::Internal)?);
    }
    profile.seconds = begun.elapsed().as_secs_f64();
    Ok(profile)
}

/// Perplexity of `text` (at most 2048 tokens of it) under a model, with keys and values as `options` say.
///
/// # Errors
/// As for [`LlamaCpp::load`](crate::llama_cpp::LlamaCpp::load); [`ModelError::InvalidRequest`] for a text of a few words.
pub fn perplexity_of(path: &Path, options: &LlamaCppOptions, text: Option<&str>) -> Result<f64, ModelError> {
    let opened = Opened::open(path, options)?;
    let shape = sizing::shape(options, opened.size)?;
    let workload =
        Workload { batches: vec![1], depths: Vec::new(), steps: 1, kv_bytes: effort::kv_bytes(options), text: 2048 };
    let bench = Bench::new(&opened.model, opened.size, &opened.vocabulary, shape, workload);
    let text = text.unwrap_or(perplexity::PROSE);
    bench.perplexity_of(text, shape.kv_type).map_err(|error| ModelError::invalid("text", error))
}

/// Memory of this process in bytes.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
