//! Which requests have the same answer.
//!
//! A key is the blake3 hash of everything that can change an answer, in a canonical encoding: each field by name,
//! each name and value with its length before it, so that no two different requests are encoded alike. The version is
//! part of the key; it goes up whenever the encoding, or the meaning of an entry, changes.
//!
//! Request ids, deadlines and the use of the cache itself don't count. Fields that could be left out in some cases (the
//! seed of a greedy request) count all the same: a needless miss is cheaper than a wrong answer.

use blake3::Hasher;
use llmo_core::model::{Message, ModelInfo, Prompt, SamplingParams};
use llmo_core::{CacheKey, EmbedRequest, GenerateRequest};

/// Version of the encoding and of what entries mean.
const VERSION: u32 = 3;

/// The key of a generation.
///
/// `None` if the prompt is of a kind this version does not know.
#[must_use]
pub fn generation(model: &ModelInfo, request: &GenerateRequest) -> Option<CacheKey> {
    let mut fields = Fields::new("generate", model, request.tenant.as_deref());
    fields.prompt(&request.prompt)?;
    fields.number("max_tokens", request.max_tokens.map(u64::from));
    fields.list("stop", request.stop.iter().map(String::as_bytes));
    fields.list("stop_tokens", request.stop_tokens.iter().map(|token| token.to_le_bytes()));
    fields.sampling(&request.sampling)?;
    fields.number("logprobs", request.logprobs.map(u64::from));
    fields.number("prompt_logprobs", request.prompt_logprobs.map(u64::from));
    fields.bytes("token_ids", &[request.token_ids.into()]);
    fields.json("constraint", &request.constraint)?;
    fields.list("output_prefix", request.output_prefix.iter().map(|token| token.to_le_bytes()));
    fields.json("tools", &request.tools)?;
    fields.json("tool_choice", &request.tool_choice)?;
    fields.bytes("parallel_tool_calls", &[request.parallel_tool_calls.into()]);
    fields.json("adapter", &request.adapter)?;
    fields.key("gen")
}

/// The key of the vector of one text of a request.
#[must_use]
pub fn embedding(model: &ModelInfo, request: &EmbedRequest, text: &str) -> Option<CacheKey> {
    let mut fields = Fields::new("embed", model, request.tenant.as_deref());
    fields.bytes("text", text.as_bytes());
    fields.number("dimensions", request.dimensions.map(u64::from));
    fields.bytes("truncate", &[request.truncate.into()]);
    fields.key("emb")
}

/// Collects fields into a hash.
struct Fields(Hasher);

// === impl Fields ===

impl Fields {
    fn new(operation: &str, model: &ModelInfo, tenant: Option<&str>) -> Self {
        let mut fields = Self(Hasher::new());
        fields.bytes("llmo response cache", &VERSION.to_le_bytes());
        fields.bytes("operation", operation.as_bytes());
        fields.optional("tenant", tenant.map(str::as_bytes));
        fields.bytes("model", model.id.as_bytes());
        fields.optional("digest", model.digest.as_deref().map(str::as_bytes));
        // The same weights in another engine, format or context give other answers.
        fields.bytes("backend", model.backend.as_bytes());
        fields.bytes("quantisation", model.quantisation.to_string().as_bytes());
        fields.number("context_length", Some(model.context_length.into()));
        fields
    }

    fn prompt(&mut self, prompt: &Prompt) -> Option<()> {
        match prompt {
            Prompt::Chat(messages) => self.messages(messages)?,
            Prompt::Text(text) => self.bytes("prompt text", text.as_bytes()),
            Prompt::Tokens(tokens) => self.list("prompt tokens", tokens.iter().map(|token| token.to_le_bytes())),
            _ => return None,
        }
        Some(())
    }

    fn messages(&mut self, messages: &[Message]) -> Option<()> {
        let parts = messages.iter().flat_map(|message| [message.role.as_str(), message.content.as_str()]);
        self.list("prompt messages", parts.collect::<Vec<_>>());
        for message in messages {
            self.json("calls", &(&message.tool_calls, &message.tool_call_id, &message.name))?;
        }
        Some(())
    }

    /// A structure in its serialised form, whose order of fields is fixed. `None` if it has none.
    fn json(&mut self, name: &str, value: &impl serde::Serialize) -> Option<()> {
        self.bytes(name, &serde_json::to_vec(value).ok()?);
        Some(())
    }

    fn sampling(&mut self, sampling: &SamplingParams) -> Option<()> {
        self.float("temperature", sampling.temperature);
        self.number("top_k", Some(sampling.top_k.into()));
        self.float("top_p", sampling.top_p);
        self.float("min_p", sampling.min_p);
        self.float("typical_p", sampling.typical_p);
        self.float("repetition_penalty", sampling.repetition_penalty);
        self.float("frequency_penalty", sampling.frequency_penalty);
        self.float("presence_penalty", sampling.presence_penalty);
        self.number("seed", sampling.seed);
        self.number("penalty_window", Some(sampling.penalty_window.into()));
        self.json("dry", &sampling.dry)?;
        self.json("mirostat", &sampling.mirostat)?;
        let bias = sampling.logit_bias.iter().map(|(token, bias)| {
            let mut pair = [0; 8];
            pair[..4].copy_from_slice(&token.to_le_bytes());
            pair[4..].copy_from_slice(&bias.to_le_bytes());
            pair
        });
        self.list("logit_bias", bias.collect::<Vec<_>>());
        Some(())
    }

    fn bytes(&mut self, name: &str, value: &[u8]) {
        self.raw(name.as_bytes());
        self.raw(value);
    }

    fn optional(&mut self, name: &str, value: Option<&[u8]>) {
        self.list(name, value);
    }

    fn number(&mut self, name: &str, value: Option<u64>) {
        self.list(name, value.map(u64::to_le_bytes));
    }

    fn float(&mut self, name: &str, value: f32) {
        self.bytes(name, &value.to_le_bytes());
    }

    fn list<T: AsRef<[u8]>>(&mut self, name: &str, values: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>) {
        let values = values.into_iter();
        self.raw(name.as_bytes());
        self.0.update(&(values.len() as u64).to_le_bytes());
        values.for_each(|value| self.raw(value.as_ref()));
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn key(&self, kind: &str) -> Option<CacheKey> {
        // Always a valid key: the alphabet is hexadecimal.
        CacheKey::new(format!("{kind}:v{VERSION}:{}", self.0.finalize().to_hex())).ok()
    }
}

#[cfg(test)]
mod tests;
