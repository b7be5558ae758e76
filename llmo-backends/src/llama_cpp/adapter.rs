//! LoRA adapters (Hu et al., 2021): small weights over those of a model, `W + scale · alpha/rank · B·A`.
//!
//! llama.cpp registers an adapter with the model itself, which nobody else may use meanwhile, and applies it to all
//! sequences of a context. A model with an adapter is therefore loaded on its own, with a context of its own.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel};
use llmo_core::ModelError;
use llmo_core::weights::gguf::{GgufTensor, GgufValue};
use llmo_core::weights::{GgufHeader, WeightsError};

use super::options::LoraOptions;

const FIRST_READ: usize = 4 << 20;
/// No header is longer.
const MAX_HEADER: usize = 256 << 20;

/// An adapter that belongs to a model; it is freed with it.
pub(super) struct Adapter {
    pub(super) handle: LlamaLoraAdapter,
    pub(super) scale: f32,
}

impl Adapter {
    /// Loads an adapter for `model`, whose file is `base`. `None` if it has no strength.
    ///
    /// # Errors
    /// [`ModelError::Corrupt`] if its file is damaged or is for another model, in which case llama.cpp never sees it.
    pub(super) fn open(
        id: &str,
        model: &mut LlamaModel,
        base: &Path,
        options: &LoraOptions,
    ) -> Result<Option<Self>, ModelError> {
        let corrupt = |reason: String| ModelError::Corrupt {
            model: id.to_owned(),
            reason: format!("the adapter {}: {reason}", options.path.display()),
        };
        check(&header(&options.path).map_err(corrupt)?, &header(base).map_err(corrupt)?).map_err(corrupt)?;
        if options.scale == 0.0 {
            return Ok(None);
        }
        let handle = model
            .lora_adapter_init(&options.path)
            .map_err(|e| corrupt(format!("llama.cpp refuses it ({e}); its log says why")))?;
        Ok(Some(Self { handle, scale: options.scale }))
    }
}

fn header(path: &Path) -> Result<GgufHeader, String> {
    let unreadable = |e: std::io::Error| format!("it can't be read: {e}");
    let mut file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let mut bytes = Vec::new();
    let mut length = FIRST_READ;
    loop {
        let missing = (length - bytes.len()) as u64;
        (&mut file).take(missing).read_to_end(&mut bytes).map_err(unreadable)?;
        match GgufHeader::parse(&bytes, size) {
            Ok(header) => return Ok(header),
            Err(WeightsError::Truncated { .. }) if bytes.len() == length && length < MAX_HEADER => length *= 2,
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Is this an adapter, and one for this model?
fn check(adapter: &GgufHeader, base: &GgufHeader) -> Result<(), String> {
    let text = |key: &str| match adapter.get(key) {
        Some(GgufValue::Text(text)) => text.as_str(),
        _ => "nothing",
    };
    if (text("general.type"), text("adapter.type")) != ("adapter", "lora") {
        return Err("it is no LoRA adapter (general.type, adapter.type)".into());
    }
    if adapter.architecture() != base.architecture() {
        let name = |header: &GgufHeader| header.architecture().unwrap_or("nothing").to_owned();
        return Err(format!("it is for {} models, not for {}", name(adapter), name(base)));
    }
    if !matches!(adapter.get("adapter.lora.alpha"), Some(GgufValue::Float(alpha)) if alpha.is_finite()) {
        return Err("it has no adapter.lora.alpha".into());
    }
    if adapter.get("adapter.alora.invocation_tokens").is_some() {
        return Err("adapters that begin at a certain token (aLoRA) are not supported".into());
    }
    if adapter.tensors().is_empty() {
        return Err("it has no tensors".into());
    }
    for tensor in adapter.tensors() {
        let Some((name, which)) = tensor.name.rsplit_once(".lora_") else {
            return Err(format!("the tensor {:?} is none of an adapter's", tensor.name));
        };
        let other = match which {
            "a" => "b",
            "b" => "a",
            _ => return Err(format!("the tensor {:?} is none of an adapter's", tensor.name)),
        };
        let of_model = find(base, name).ok_or_else(|| format!("the model has no tensor {name:?}"))?;
        let pair = find(adapter, &format!("{name}.lora_{other}"))
            .ok_or_else(|| format!("{:?} has no counterpart", tensor.name))?;
        if which == "a" && !fits(of_model, tensor, pair) {
            return Err(format!("the adapter of {name:?} has another shape than the model; is it for another model?"));
        }
    }
    Ok(())
}

fn find<'a>(header: &'a GgufHeader, name: &str) -> Option<&'a GgufTensor> {
    header.tensors().iter().find(|tensor| tensor.name == name)
}

/// Do A (inputs × rank) and B (rank × outputs) make a matrix of the model's shape? For the embedding of tokens the two
/// are stored the other way round.
fn fits(model: &GgufTensor, a: &GgufTensor, b: &GgufTensor) -> bool {
    let two = |tensor: &GgufTensor| match tensor.dimensions[..] {
        [rows, columns] => Some((rows, columns)),
        _ => None,
    };
    let (Some(model_shape), Some(a), Some(b)) = (two(model), two(a), two(b)) else { return false };
    if model.name.ends_with("token_embd.weight") {
        return model_shape == (b.1, a.1) && a.0 == b.0;
    }
    model_shape == (a.0, b.1) && a.1 == b.0
}
