//! What a GGUF file's header tells of a model before it is loaded: what it is, and what it will take.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use llmo_config::ModelConfig;
use llmo_core::model::{Capabilities, ModelInfo};
use llmo_core::weights::gguf::GgufValue;
use llmo_core::weights::{GgufHeader, WeightsError};

use super::budget::Need;

const FIRST_READ: usize = 4 << 20;
/// No header is longer: a vocabulary of a million words has some 30 MB.
const MAX_HEADER: usize = 256 << 20;
/// What engines choose if nobody says otherwise (`llmo_backends::llama_cpp`).
const LONGEST_BY_DEFAULT: u64 = 8_192;
const SLOTS_BY_DEFAULT: u64 = 4;
const KV_BUDGET: u64 = 1 << 30;
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

/// What the model will take: its file, the KV cache of all slots, and buffers. An estimate; engines round up and down.
pub(super) fn need(header: &GgufHeader, size: u64, config: &ModelConfig) -> Need {
    let slots = if config.slots > 0 { u64::from(config.slots) } else { SLOTS_BY_DEFAULT };
    let token = kv_bytes(header, config.int8);
    let cache = context_length(header, config).saturating_mul(slots).saturating_mul(token);
    // Without a length to keep to, engines keep to a budget.
    let cache = if config.context_length > 0 { cache } else { cache.min(KV_BUDGET) };
    Need { weights: size, own: cache.saturating_add(OVERHEAD) }
}

fn context_length(header: &GgufHeader, config: &ModelConfig) -> u64 {
    match config.context_length {
        0 => header.context_length().unwrap_or(LONGEST_BY_DEFAULT).min(LONGEST_BY_DEFAULT),
        asked => asked.into(),
    }
}

/// Bytes of the keys and values of one token over all layers.
fn kv_bytes(header: &GgufHeader, int8: bool) -> u64 {
    let heads = number(header, "attention.head_count").max(1);
    let kv_heads = match number(header, "attention.head_count_kv") {
        0 => heads,
        some => some,
    };
    let per_head = header.embedding_length().unwrap_or(0) / heads;
    let or_usual = |stored: u64| if stored == 0 { per_head } else { stored };
    let length = or_usual(number(header, "attention.key_length"))
        .saturating_add(or_usual(number(header, "attention.value_length")));
    let values = header.block_count().unwrap_or(0).saturating_mul(kv_heads).saturating_mul(length);
    if int8 { values.saturating_mul(34) / 32 } else { values.saturating_mul(2) }
}

fn number(header: &GgufHeader, name: &str) -> u64 {
    let key = format!("{}.{name}", header.architecture().unwrap_or_default());
    match header.get(&key) {
        Some(GgufValue::Unsigned(value)) => *value,
        Some(GgufValue::Signed(value)) => u64::try_from(*value).unwrap_or(0),
        _ => 0,
    }
}
