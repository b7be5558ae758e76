//! `llmo list` and `rm`: the models on this machine.

use std::sync::Arc;

use llmo_config::Config;
use llmo_server::wiring::{WiringError, local_store};
use llmo_store::catalogue::Catalogue;
use llmo_store::manifest::Manifest;
use llmo_store::models::ModelLibrary;
use serde_json::{Value, json};

use crate::error::{CliError, Result};

pub(crate) async fn list(config: &Config, all: bool, as_json: bool) -> Result {
    let library = library(config).await?;
    let installed = library.list().await.map_err(WiringError::from)?;
    let missing = library.catalogue().entries().iter().filter(|_| all);
    let missing: Vec<_> = missing.filter(|entry| !installed.iter().any(|manifest| manifest.id == entry.id)).collect();
    if as_json {
        let rows = installed.iter().map(|manifest| row(manifest, true));
        let rows =
            rows.chain(missing.iter().map(|entry| json!({"id": entry.id, "title": entry.title, "installed": false})));
        say!("{:#}", rows.collect::<Value>());
        return Ok(());
    }
    if installed.is_empty() && missing.is_empty() {
        say!("no models here; those that can be fetched: llmo list --all");
        return Ok(());
    }
    say!("{:<24} {:>9} {:<12} TITLE", "MODEL", "SIZE", "LICENSE");
    for manifest in &installed {
        let size = format!("{} MiB", manifest.size() >> 20);
        say!("{:<24} {size:>9} {:<12} {}", manifest.id, manifest.license, manifest.title);
    }
    for entry in missing {
        say!("{:<24} {:>9} {:<12} {}", entry.id, "-", entry.license, entry.title);
    }
    Ok(())
}

pub(crate) async fn remove(config: &Config, models: &[String]) -> Result {
    let library = library(config).await?;
    for model in models {
        let bytes = library.remove(model).await.map_err(WiringError::from)?;
        say!("{model}: removed, {} MiB freed", bytes >> 20);
    }
    Ok(())
}

fn row(manifest: &Manifest, installed: bool) -> Value {
    json!({
        "id": manifest.id, "title": manifest.title, "size": manifest.size(), "license": manifest.license,
        "source": manifest.source, "task": manifest.task, "installed": installed,
    })
}

pub(super) async fn library(config: &Config) -> Result<ModelLibrary> {
    let store = local_store(&config.store).await?;
    let catalogue = Catalogue::builtin().map_err(WiringError::from)?;
    Ok(ModelLibrary::new(Arc::new(store), Arc::new(catalogue)))
}

impl From<WiringError> for CliError {
    fn from(error: WiringError) -> Self {
        Self::Message(error.to_string())
    }
}
