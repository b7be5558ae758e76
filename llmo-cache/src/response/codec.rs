//! How an answer is stored.
//!
//! ```text
//!   "lr" │ version u8 │ kind u8 │ blake3 of (key, kind, body), 32 bytes │ body
//!   body of a generation: deltas (text, token ids, log probabilities, pieces of calls, tokens of the
//!                         prompt, mirostat's state), finish reason, stop string, usage
//!   body of a vector:     tokens read, f32 little-endian each
//! ```
//!
//! Numbers are varints. The checksum covers the key, so that an entry copied to another key is found out. An entry of
//! another version or kind does not decode: it is a miss, like a damaged one.

use bytes::Bytes;
use llmo_core::CacheKey;
use llmo_core::model::{Delta, Finish, FinishReason, PromptToken, TokenLogprob, ToolCallDelta, TopLogprob, Usage};

use super::varint::{Reader, write_bytes, write_number};

const MAGIC: &[u8; 2] = b"lr";
const VERSION: u8 = 3;
/// What a delta has besides text and tokens.
const HAS_LOGPROBS: u8 = 8;
const HAS_CALLS: u8 = 1;
const HAS_PROMPT: u8 = 2;
const HAS_MIROSTAT: u8 = 4;
const HEADER_BYTES: usize = MAGIC.len() + 2 + blake3::OUT_LEN;

/// A complete generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The output, in pieces.
    pub deltas: Vec<Delta>,
    /// The end. Timings are not stored: an answer from the cache takes no time.
    pub finish: Finish,
}

/// An embedding of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    /// Tokens of the text.
    pub tokens: u64,
    /// The vector.
    pub values: Vec<f32>,
}

/// Why an entry can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a whole entry of this version under this key")]
pub struct DecodeError;

/// Something that can be stored.
pub trait Stored: Sized + Send + Sync + 'static {
    /// Tells the kinds apart.
    const KIND: u8;

    /// Appends the body; false if there is something in it that this version can't express.
    fn write_body(&self, out: &mut Vec<u8>) -> bool;

    /// Reads a body; `None` if it is not one.
    fn read_body(body: &[u8]) -> Option<Self>;
}

/// The entry of `value` under `key`; `None` if it can't be expressed.
#[must_use]
pub fn encode<T: Stored>(key: &CacheKey, value: &T) -> Option<Bytes> {
    let mut entry = Vec::with_capacity(HEADER_BYTES + 256);
    entry.extend_from_slice(MAGIC);
    entry.extend_from_slice(&[VERSION, T::KIND]);
    entry.extend_from_slice(&[0; blake3::OUT_LEN]);
    if !value.write_body(&mut entry) {
        return None;
    }
    let checksum = checksum(key, T::KIND, &entry[HEADER_BYTES..]);
    entry[HEADER_BYTES - blake3::OUT_LEN..HEADER_BYTES].copy_from_slice(checksum.as_bytes());
    Some(entry.into())
}

/// The value in the entry under `key`.
///
/// # Errors
/// [`DecodeError`] if the entry is damaged, was made for another key, or is of another version or kind.
pub fn decode<T: Stored>(key: &CacheKey, entry: &[u8]) -> Result<T, DecodeError> {
    let (header, body) = entry.split_at_checked(HEADER_BYTES).ok_or(DecodeError)?;
    let (identity, claimed) = header.split_at(HEADER_BYTES - blake3::OUT_LEN);
    if identity != [MAGIC[0], MAGIC[1], VERSION, T::KIND] || checksum(key, T::KIND, body).as_bytes() != claimed {
        return Err(DecodeError);
    }
    T::read_body(body).ok_or(DecodeError)
}

fn checksum(key: &CacheKey, kind: u8, body: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.as_str().len() as u64).to_le_bytes());
    hasher.update(key.as_str().as_bytes());
    hasher.update(&[kind]);
    hasher.update(body);
    hasher.finalize()
}

// === impl Generation ===

impl Stored for Generation {
    const KIND: u8 = b'g';

    fn write_body(&self, out: &mut Vec<u8>) -> bool {
        write_number(out, self.deltas.len() as u64);
        for delta in &self.deltas {
            write_delta(out, delta);
        }
        out.push(match self.finish.reason {
            FinishReason::Stop => 0,
            FinishReason::Length => 1,
            FinishReason::ToolCalls => 2,
            _ => return false,
        });
        match &self.finish.stop {
            None => out.push(0),
            Some(stop) => {
                out.push(1);
                write_bytes(out, stop.as_bytes());
            }
        }
        let usage = &self.finish.usage;
        for tokens in [usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens] {
            write_number(out, tokens);
        }
        true
    }

    fn read_body(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let deltas = (0..reader.count()?).map(|_| read_delta(&mut reader)).collect::<Option<_>>()?;
        let reason = match reader.byte()? {
            0 => FinishReason::Stop,
            1 => FinishReason::Length,
            2 => FinishReason::ToolCalls,
            _ => return None,
        };
        let stop = match reader.byte()? {
            0 => None,
            1 => Some(reader.text()?),
            _ => return None,
        };
        let prompt_tokens = reader.number()?;
        let cached_tokens = reader.number()?;
        let mut usage = Usage::new(prompt_tokens, reader.number()?);
        usage.cached_tokens = cached_tokens;
        let mut finish = Finish::new(reason, usage);
        finish.stop = stop;
        reader.is_empty().then_some(Self { deltas, finish })
    }
}

fn write_delta(out: &mut Vec<u8>, delta: &Delta) {
    write_bytes(out, delta.text.as_bytes());
    write_number(out, delta.tokens.len() as u64);
    delta.tokens.iter().for_each(|&token| write_number(out, token.into()));
    // Seldom there; a byte says so for all.
    let extras = [
        (HAS_LOGPROBS, !delta.logprobs.is_empty()),
        (HAS_CALLS, !delta.tool_calls.is_empty()),
        (HAS_PROMPT, !delta.prompt.is_empty()),
        (HAS_MIROSTAT, delta.mirostat_mu.is_some()),
    ];
    let extras: u8 = extras.iter().filter(|(_, is_there)| *is_there).map(|(bit, _)| bit).sum();
    out.push(extras);
    if extras & HAS_LOGPROBS != 0 {
        write_number(out, delta.logprobs.len() as u64);
        for entry in &delta.logprobs {
            write_logprob(out, entry.token, &entry.bytes, entry.logprob);
            write_tops(out, &entry.top);
        }
    }
    if extras & HAS_CALLS != 0 {
        write_calls(out, &delta.tool_calls);
    }
    if extras & HAS_PROMPT != 0 {
        write_prompt(out, &delta.prompt);
    }
    if let Some(mu) = delta.mirostat_mu {
        out.extend_from_slice(&mu.to_le_bytes());
    }
}

fn write_calls(out: &mut Vec<u8>, calls: &[ToolCallDelta]) {
    write_number(out, calls.len() as u64);
    for call in calls {
        write_number(out, call.index.into());
        write_optional(out, call.id.as_deref());
        write_optional(out, call.name.as_deref());
        write_bytes(out, call.arguments.as_bytes());
    }
}

fn write_prompt(out: &mut Vec<u8>, prompt: &[PromptToken]) {
    write_number(out, prompt.len() as u64);
    for entry in prompt {
        write_number(out, entry.token.into());
        write_bytes(out, &entry.bytes);
        write_optional_float(out, entry.logprob);
        write_tops(out, &entry.top);
    }
}

fn write_tops(out: &mut Vec<u8>, tops: &[TopLogprob]) {
    write_number(out, tops.len() as u64);
    tops.iter().for_each(|top| write_logprob(out, top.token, &top.bytes, top.logprob));
}

fn write_optional_float(out: &mut Vec<u8>, value: Option<f32>) {
    out.push(value.is_some().into());
    out.extend_from_slice(&value.unwrap_or_default().to_le_bytes());
}

fn write_optional(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(text.is_some().into());
    write_bytes(out, text.unwrap_or_default().as_bytes());
}

fn write_logprob(out: &mut Vec<u8>, token: u32, bytes: &[u8], logprob: f32) {
    write_number(out, token.into());
    write_bytes(out, bytes);
    out.extend_from_slice(&logprob.to_le_bytes());
}

fn read_delta(reader: &mut Reader<'_>) -> Option<Delta> {
    let text = reader.text()?;
    let tokens = (0..reader.count()?).map(|_| u32::try_from(reader.number()?).ok()).collect::<Option<_>>()?;
    let mut delta = Delta::new(text, tokens);
    let extras = reader.byte()?;
    if extras & HAS_LOGPROBS != 0 {
        delta.logprobs = (0..reader.count()?).map(|_| read_token_logprob(reader)).collect::<Option<_>>()?;
    }
    if extras & HAS_CALLS != 0 {
        delta.tool_calls = (0..reader.count()?).map(|_| read_call(reader)).collect::<Option<_>>()?;
    }
    if extras & HAS_PROMPT != 0 {
        delta.prompt = (0..reader.count()?).map(|_| read_prompt_token(reader)).collect::<Option<_>>()?;
    }
    if extras & HAS_MIROSTAT != 0 {
        delta.mirostat_mu = Some(f32::from_le_bytes(reader.array()?));
    }
    (extras & !(HAS_LOGPROBS | HAS_CALLS | HAS_PROMPT | HAS_MIROSTAT) == 0).then_some(delta)
}

fn read_token_logprob(reader: &mut Reader<'_>) -> Option<TokenLogprob> {
    let TopLogprob { token, bytes, logprob } = read_logprob(reader)?;
    Some(TokenLogprob { token, bytes, logprob, top: read_tops(reader)? })
}

fn read_prompt_token(reader: &mut Reader<'_>) -> Option<PromptToken> {
    Some(PromptToken {
        token: u32::try_from(reader.number()?).ok()?,
        bytes: reader.bytes()?.to_vec(),
        logprob: read_optional_float(reader)?,
        top: read_tops(reader)?,
    })
}

fn read_tops(reader: &mut Reader<'_>) -> Option<Vec<TopLogprob>> {
    (0..reader.count()?).map(|_| read_logprob(reader)).collect()
}

fn read_optional_float(reader: &mut Reader<'_>) -> Option<Option<f32>> {
    let is_there = reader.byte()?;
    let value = f32::from_le_bytes(reader.array()?);
    match is_there {
        0 => Some(None),
        1 => Some(Some(value)),
        _ => None,
    }
}

fn read_call(reader: &mut Reader<'_>) -> Option<ToolCallDelta> {
    let mut call = ToolCallDelta::default();
    call.index = u32::try_from(reader.number()?).ok()?;
    call.id = read_optional(reader)?;
    call.name = read_optional(reader)?;
    call.arguments = reader.text()?;
    Some(call)
}

fn read_optional(reader: &mut Reader<'_>) -> Option<Option<String>> {
    let is_there = reader.byte()?;
    let text = reader.text()?;
    match is_there {
        0 => Some(None),
        1 => Some(Some(text)),
        _ => None,
    }
}

fn read_logprob(reader: &mut Reader<'_>) -> Option<TopLogprob> {
    let token = u32::try_from(reader.number()?).ok()?;
    let bytes = reader.bytes()?.to_vec();
    Some(TopLogprob { token, bytes, logprob: f32::from_le_bytes(reader.array()?) })
}

// === impl Vector ===

impl Stored for Vector {
    const KIND: u8 = b'v';

    fn write_body(&self, out: &mut Vec<u8>) -> bool {
        write_number(out, self.tokens);
        self.values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        true
    }

    fn read_body(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let tokens = reader.number()?;
        let mut values = Vec::with_capacity(body.len() / size_of::<f32>());
        while !reader.is_empty() {
            values.push(f32::from_le_bytes(reader.array()?));
        }
        Some(Self { tokens, values })
    }
}

#[cfg(test)]
mod tests;
