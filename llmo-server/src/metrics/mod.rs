//! What a process counts and measures, under OpenTelemetry's GenAI names, in Prometheus' form.
//!
//! * [`Metrics`]: the registry of a process; `/metrics` encodes it, and `/metrics/vllm` what of it vLLM has names for.
//! * [`generation`]: requests to models. [`http`]: requests as such. [`cache`]: a cache's own counters.
//! * `choices`: where the time of single generations went. [`models`]: how busy models are, and what they have done.
//! * `process`: memory, processor time and files of this process.
//! * `exposition`: the text forms of scrapes.
//! * [`labels`]: label values with a bound: a client must not be able to make new time series.
//! * [`buckets`]: the buckets of all histograms.

pub mod buckets;
pub mod cache;
mod choices;
mod exposition;
pub mod generation;
pub mod http;
pub mod labels;
pub mod models;
mod process;
mod registry;
mod telemetry;

pub use registry::{Metrics, Refresh, Role};
