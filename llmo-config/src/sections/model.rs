//! The model service and its engines.

use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::state_directory;
use crate::AdapterConfig;

/// The model service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Address to listen on.
    pub host: String,
    /// Port (`MODEL_SERVICE_PORT`).
    pub port: u16,
    /// Models to serve, by their names in the catalogue or in the store; the first is the default.
    pub names: Vec<String>,
    /// A GGUF file to serve as the default model instead (`MODEL_PATH`).
    pub path: Option<PathBuf>,
    /// Which engine runs GGUF models.
    pub engine: EngineKind,
    /// Longest prompt plus output, in tokens; 0: the model's own, at most 8192.
    pub context_length: u32,
    /// Sequences decoded at once; 0: chosen by the engine.
    pub slots: u32,
    /// Threads of the engine; 0: one a physical core.
    pub threads: u32,
    /// Most requests waiting for a slot; one more is refused with 429.
    pub max_queued: usize,
    /// Serve models in 8 bits (`USE_INT8`): weights as `int8_weights` says, keys and values where perplexity allows.
    pub int8: bool,
    /// Where beginnings that many prompts share are kept as computed, so that they survive a restart and reach other
    /// replicas: `store` for where the weights are, a directory, or the base URL of a storage service; empty: nowhere.
    /// Entries hold the tokens of those beginnings.
    pub prefix_store: String,
    /// Most bytes of these entries for each model; the oldest go first.
    pub prefix_store_max_bytes: u64,
    /// Most of these entries for each model.
    pub prefix_store_max_entries: usize,
    /// With `int8`: whose weights are converted to 8 bits, on first load, and kept.
    pub int8_weights: Int8Weights,
    /// Measure which options are fast on this machine when a model is loaded for the first time.
    pub tune: Tune,
    /// Where measurements are remembered; empty: `llmo/tune` in the user's state directory.
    pub tune_dir: PathBuf,
    /// How keys and values are stored.
    pub kv_type: KvChoice,
    /// Fused attention. An 8-bit cache needs it.
    pub flash_attention: Choice,
    /// Threads that read prompts; 0: as many as `threads`, or what the tuner finds.
    pub threads_batch: u32,
    /// Most tokens of prompts that are read between two tokens of running streams; 0: 128, or what the tuner finds.
    pub prefill_chunk: u32,
    /// Most tokens that are computed at once; 0: a whole run, or what the tuner finds.
    pub micro_batch: u32,
    /// Where native engines run: auto, process or none.
    pub isolation: Isolation,
    /// An engine that has work and gets nothing done for so many seconds is ended and started again. Only in a process
    /// of its own.
    pub stall_seconds: u64,
    /// Guess tokens ahead from what a stream holds already, where that is faster. `auto`: where it leaves the output as it is,
    /// which is where llmo's own kernels compute attention; `true` (`on`): everywhere, also where a greedy answer may become
    /// another when two tokens are about equally likely; `false` (`off`): never.
    #[serde(deserialize_with = "choice")]
    pub speculation: Choice,
    /// A smaller model that guesses instead, where tokens are guessed at all: its name in the catalogue or in the store, or a
    /// GGUF file; empty: none. It must have the very same tokens; models that have others are served without it.
    pub draft: String,
    /// Fetch a model of the catalogue when it is first asked for. Otherwise only installed models are loaded.
    pub auto_pull: bool,
    /// How long a model that was loaded on demand stays in memory after its last use; 0: not at all, -1: for ever. The
    /// models in `names` stay in any case.
    pub keep_alive_seconds: i64,
    /// Most memory that all models together may take, in MiB; 0: three quarters of what this machine, or this
    /// container, has.
    pub memory_budget_mb: u64,
    /// Longest time that a request waits for its model to be loaded.
    pub load_wait_seconds: u64,
    /// A model that was loaded less than this ago is not unloaded to make room for another.
    pub min_resident_seconds: u64,
    /// LoRA adapters. Each is a model of its own, called `MODEL:NAME`.
    pub adapters: Vec<AdapterConfig>,
    /// Simulator only: tokens a second and stream.
    pub sim_tokens_per_second: f64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8081,
            names: vec!["smollm2-135m".into(), "minilm-l6".into()],
            path: None,
            engine: EngineKind::Auto,
            context_length: 0,
            slots: 0,
            threads: 0,
            max_queued: 64,
            int8: false,
            speculation: Choice::Auto,
            draft: String::new(),
            prefix_store: String::new(),
            prefix_store_max_bytes: 1 << 30,
            prefix_store_max_entries: 64,
            int8_weights: Int8Weights::Auto,
            tune: Tune::Auto,
            tune_dir: PathBuf::new(),
            kv_type: KvChoice::Auto,
            flash_attention: Choice::Auto,
            threads_batch: 0,
            prefill_chunk: 0,
            micro_batch: 0,
            isolation: Isolation::Auto,
            stall_seconds: 120,
            auto_pull: false,
            keep_alive_seconds: 300,
            memory_budget_mb: 0,
            load_wait_seconds: 120,
            min_resident_seconds: 10,
            adapters: Vec::new(),
            sim_tokens_per_second: 100.0,
        }
    }
}

/// Where native engines (llama.cpp) run. They can abort the process they are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Isolation {
    /// In a process of their own under the model service; in the same process under `llmo up`.
    #[default]
    Auto,
    /// Each in a process of its own: an abort ends that process only.
    Process,
    /// In the process that loads them.
    None,
}

impl Isolation {
    /// What a model service takes for `auto`.
    #[must_use]
    pub fn in_service(self) -> Self {
        if self == Self::Auto { Self::Process } else { self }
    }
}

impl ModelConfig {
    /// The directory of measurements: `tune_dir`, or `llmo/tune` in the user's state directory (`XDG_STATE_HOME`, `HOME`).
    #[must_use]
    pub fn tune_directory(&self) -> PathBuf {
        if !self.tune_dir.as_os_str().is_empty() {
            return self.tune_dir.clone();
        }
        state_directory().join("llmo/tune")
    }
}

/// Whether to measure which options are fast, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Tune {
    /// Never; measurements that there are are not used.
    Off,
    /// A few seconds when a model is loaded for the first time on this machine.
    #[default]
    Auto,
    /// Some minutes when a model is loaded for the first time on this machine.
    Full,
}

/// Whose weights are converted to 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Int8Weights {
    /// Those that are stored in more than 8 bits, and those in fewer where the model takes less memory all the same,
    /// because its KV cache shrinks by more than its weights grow.
    #[default]
    Auto,
    /// All.
    Always,
    /// None.
    Never,
}

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KvChoice {
    /// 16 bits, or what the tuner finds.
    #[default]
    Auto,
    /// 16-bit floats.
    F16,
    /// 8-bit integers.
    Q8_0,
}

/// Yes, no, or what is found to be better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Choice {
    /// What is found to be better.
    #[default]
    Auto,
    /// Yes.
    On,
    /// No.
    Off,
}

/// A [`Choice`], also as `true` and `false`, or as the texts that stand for these.
fn choice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Choice, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Told {
        Flag(bool),
        Text(String),
    }
    let text = match Told::deserialize(deserializer)? {
        Told::Flag(true) => return Ok(Choice::On),
        Told::Flag(false) => return Ok(Choice::Off),
        Told::Text(text) => text.trim().to_ascii_lowercase(),
    };
    match text.as_str() {
        // An empty variable is how compose files and shells spell "not set".
        "" | "auto" => Ok(Choice::Auto),
        "on" | "true" | "yes" | "1" => Ok(Choice::On),
        "off" | "false" | "no" | "0" => Ok(Choice::Off),
        other => Err(D::Error::custom(format!("must be auto, true or false, not {other:?}"))),
    }
}

/// What runs GGUF models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EngineKind {
    /// llama.cpp if it is compiled in, else candle.
    #[default]
    Auto,
    /// llama.cpp.
    #[serde(alias = "llama.cpp")]
    LlamaCpp,
    /// candle.
    Candle,
    /// The simulator: numbered tokens, no weights. For tests.
    Sim,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn speculation_is_a_choice_and_still_takes_true_and_false() {
        let read = |value: serde_json::Value| {
            serde_json::from_value::<ModelConfig>(json!({"speculation": value})).map(|config| config.speculation)
        };
        for (told, expected) in [
            (json!("auto"), Choice::Auto),
            (json!(""), Choice::Auto),
            (json!(true), Choice::On),
            (json!("On"), Choice::On),
            (json!("1"), Choice::On),
            (json!(false), Choice::Off),
            (json!("false"), Choice::Off),
        ] {
            assert_eq!(read(told.clone()).ok(), Some(expected), "{told}");
        }
        for wrong in [json!("sometimes"), json!(3), json!(null)] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
        // What is written is read again: an engine's process is handed its configuration.
        for choice in [Choice::Auto, Choice::On, Choice::Off] {
            assert_eq!(read(json!(choice)).ok(), Some(choice));
        }
    }
}
