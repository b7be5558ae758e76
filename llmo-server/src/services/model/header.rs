//! What a GGUF file's header tells of a model before it is loaded: what it is, and what it will take.

use std::fs::File;
use std::io::Read;
use std::path::Path;

#[cfg(feature = "llama-cpp")]
use llmo_backends::llama_cpp::{self, Plan};
#[cfg(feature = "llama-cpp")]
use llmo_config::Choice;
use llmo_config::ModelConfig;
#[cfg(feature = "llama-cpp")]
use llmo_core::ModelError;
use llmo_core::model::{Capabilities, ModelInfo};
use llmo_core::weights::gguf::GgufValue;
use llmo_core::weights::{GgufHeader, WeightsError};

use super::budget::Need;

const FIRST_READ: usize = 4 << 20;
/// No header is longer: a vocabulary of a million words has some 30 MB.
const MAX_HEADER: usize = 256 << 20;
/// What engines choose at most if nobody says otherwise.
const LONGEST_BY_DEFAULT: u64 = 8_192;
/// Buffers for computing, the vocabulary, what allocators hold back.
const OVERHEAD: u64 = 64 << 20;

/// Reads and checks the header of a GGUF file. Blocking: a few milliseconds.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(path: &Path) -> Result<GgufHeader, String> {
    let unreadable = |e: std::io::Error| format!("{} can't be read: {e}", path.display());
    let mut file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let mut bytes = Vec::new();
    let mut length = FIRST_READ;
    loop {
        let missing = length - bytes.len();
        (&mut file).take(missing as u64).read_to_end(&mut bytes).map_err(unreadable)?;
        match GgufHeader::parse(&bytes, size) {
            Ok(header) => return Ok(header),
            Err(WeightsError::Truncated { .. }) if bytes.len() == length && length < MAX_HEADER => length *= 2,
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
}

/// What the model will say of itself, as far as its header tells. Where the engine decides, the answer is the generous
/// one: a request that then can't be served is refused by the engine itself.
pub(super) fn describe(header: &GgufHeader, id: &str, backend: &str, size: u64, config: &ModelConfig) -> ModelInfo {
    let mut info = ModelInfo::new(id, backend);
    info.family = header.architecture().unwrap_or_default().to_owned();
    info.context_length = u32::try_from(context_length(header, config)).unwrap_or(u32::MAX);
    info.vocab_size = u32::try_from(header.tokens().len()).unwrap_or(0);
    info.quantisation = header.quantisation();
    info.parameters = header.parameters();
    info.size_bytes = size;
    let mut can = Capabilities::default();
    can.generate = true;
    can.chat = header.chat_template().is_some();
    can.tokenize = true;
    can.logprobs = true;
    can.token_ids = true;
    can.constraints = true;
    can.tools = can.chat;
    info.capabilities = can;
    info
}

/// What the model will take on llama.cpp: its file, the KV cache of all slots, buffers, and the draft model. The plan is
/// llama.cpp's own, and to be handed to it: then that is what it takes. As far as the size of the cache is chosen and not set, the
/// whole stays within `room`.
///
/// # Errors
/// A setting that is out of range.
#[cfg(feature = "llama-cpp")]
pub(super) fn plan(
    header: &GgufHeader,
    size: u64,
    config: &ModelConfig,
    room: u64,
) -> Result<(Need, Plan), ModelError> {
    let options = super::engine::llama_cpp_options("", None, config);
    let least = llama_cpp::plan(&options, sizes(header), 0)?;
    // As long as it can be: how long it becomes is decided with what it leaves.
    let longest = u32::try_from(context_length(header, config)).unwrap_or(u32::MAX);
    let draft = draft(config, longest);
    let beside = least.buffer_bytes.saturating_add(size).saturating_add(draft);
    let plan = llama_cpp::plan(&options, sizes(header), room.saturating_sub(beside))?;
    let own = plan.kv_bytes.saturating_add(plan.buffer_bytes).saturating_add(draft);
    Ok((Need { weights: size, own }, plan))
}

/// Bytes that the draft model takes. What is wrong with it is for the engine to say.
#[cfg(feature = "llama-cpp")]
fn draft(config: &ModelConfig, context_length: u32) -> u64 {
    if config.draft.is_empty() || config.speculation == Choice::Off {
        return 0;
    }
    let path = Path::new(&config.draft);
    let (Ok(header), Ok(file)) = (read(path), path.metadata()) else { return 0 };
    llama_cpp::draft_bytes(sizes(&header), context_length).saturating_add(file.len())
}

/// What decides the shape of a context.
#[cfg(feature = "llama-cpp")]
pub(super) fn sizes(header: &GgufHeader) -> llama_cpp::HeaderSizes {
    let trained_for = header.context_length().and_then(|length| u32::try_from(length).ok()).unwrap_or(u32::MAX);
    llama_cpp::HeaderSizes::new(trained_for, kv_values(header), header.tokens().len() as u64)
}

/// What the model will take on candle: its file, the KV cache of the one sequence that it computes, and buffers.
pub(super) fn need(header: &GgufHeader, size: u64, config: &ModelConfig) -> Need {
    // 32-bit keys and values.
    let cache = context_length(header, config).saturating_mul(kv_values(header)).saturating_mul(4);
    Need { weights: size, own: cache.saturating_add(OVERHEAD) }
}

fn context_length(header: &GgufHeader, config: &ModelConfig) -> u64 {
    match config.context_length {
        0 => header.context_length().unwrap_or(LONGEST_BY_DEFAULT).min(LONGEST_BY_DEFAULT),
        asked => asked.into(),
    }
}

/// Keys and values of one token over all layers.
fn kv_values(header: &GgufHeader) -> u64 {
    let heads = number(header, "attention.head_count").max(1);
    let kv_heads = match number(header, "attention.head_count_kv") {
        0 => heads,
        some => some,
    };
    let per_head = header.embedding_length().unwrap_or(0) / heads;
    let or_usual = |stored: u64| if stored == 0 { per_head } else { stored };
    let length = or_usual(number(header, "attention.key_length"))
        .saturating_add(or_usual(number(header, "attention.value_length")));
    header.block_count().unwrap_or(0).saturating_mul(kv_heads).saturating_mul(length)
}

fn number(header: &GgufHeader, name: &str) -> u64 {
    let key = format!("{}.{name}", header.architecture().unwrap_or_default());
    match header.get(&key) {
        Some(GgufValue::Unsigned(value)) => *value,
        Some(GgufValue::Signed(value)) => u64::try_from(*value).unwrap_or(0),
        _ => 0,
    }
}
