//! LoRA adapters: each is a model of its own, `MODEL:NAME`. llama.cpp applies one adapter to all of a context, so that
//! requests with different adapters can't share a batch; and it registers adapters with the model itself, which nobody
//! may use meanwhile, so that they don't share weights either. They come and go as other models do.

use std::sync::Arc;

use llmo_config::AdapterConfig;
use llmo_core::ModelError;
use llmo_core::model::{Adapter, Result};

use super::entry::{Entry, Source};
use super::shelf::Shelf;

/// Most different strengths of one adapter at the same time, beside its own: each has a KV cache.
const MAX_SCALES: usize = 4;

/// The name of a model with an adapter.
pub(super) fn id(adapter: &AdapterConfig) -> String {
    format!("{}:{}", adapter.model, adapter.name)
}

/// The entry of an adapter over a model.
pub(super) fn entry(base: &Arc<Entry>, adapter: &AdapterConfig) -> Entry {
    Entry::new(id(adapter), Source::Adapter { base: Arc::clone(base), adapter: adapter.clone() }, false, base.version)
}

/// What a request for `entry` with an adapter is for. A strength of zero is the model itself; one that isn't configured
/// has an entry of its own.
pub(super) fn of(shelf: &Shelf, entry: &Arc<Entry>, wanted: &Adapter) -> Result<Arc<Entry>> {
    let model = match &entry.source {
        Source::Adapter { base, adapter } if adapter.name == wanted.name => base,
        Source::Adapter { .. } => return Err(ModelError::invalid("lora", "one adapter at a time")),
        _ => entry,
    };
    let configured: Vec<&AdapterConfig> =
        shelf.loader.config.adapters.iter().filter(|adapter| adapter.model == model.id).collect();
    // llama-server's clients count adapters.
    let nth = || wanted.name.parse().ok().and_then(|index: usize| configured.get(index));
    let found = configured.iter().find(|adapter| adapter.name == wanted.name).or_else(nth).ok_or_else(|| {
        let names: Vec<&str> = configured.iter().map(|adapter| adapter.name.as_str()).collect();
        let known = if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
        ModelError::invalid("lora", format!("the model {:?} has no adapter {:?}; {known}", model.id, wanted.name))
    })?;
    if !(-100.0..=100.0).contains(&wanted.scale) {
        return Err(ModelError::invalid("lora", format!("scale must be between -100 and 100, got {}", wanted.scale)));
    }
    if wanted.scale == 0.0 {
        return Ok(Arc::clone(model));
    }
    let base_id = id(found);
    if wanted.scale == found.scale {
        return Ok(shelf.get_or_insert(&base_id, model.version, || self::entry(model, found)));
    }
    let other = AdapterConfig { scale: wanted.scale, ..(*found).clone() };
    let id = format!("{base_id}@{}", wanted.scale);
    if shelf.get(&id).is_none() {
        let others = shelf.all().into_iter().filter(|entry| entry.id.starts_with(&format!("{base_id}@")));
        let others: Vec<_> = others.collect();
        let idle = others.iter().find(|entry| entry.tenant().is_none());
        match idle {
            Some(idle) if others.len() >= MAX_SCALES => shelf.retain(|entry| entry.id != idle.id),
            None if others.len() >= MAX_SCALES => {
                let reason = format!("{MAX_SCALES} other strengths of the adapter {:?} are in memory", found.name);
                return Err(ModelError::Overloaded { reason, retry_after: std::time::Duration::from_secs(5) });
            }
            _ => {}
        }
    }
    Ok(shelf.get_or_insert(&id, model.version, || {
        let source = Source::Adapter { base: Arc::clone(model), adapter: other };
        Entry::new(id.clone(), source, false, model.version)
    }))
}
