//! `llmo pull`: fetch models, or import a file.

use std::path::Path;

use llmo_config::Config;
use llmo_server::wiring::{WiringError, model_source};
use llmo_store::ModelsError;
use llmo_store::pull::Puller;

use crate::cli::PullArgs;
use crate::error::{CliError, Result};
use crate::progress;

pub(crate) async fn run(arguments: &PullArgs, config: &Config) -> Result {
    let puller = model_source(&config.store, arguments.unpinned).await?;
    match (&arguments.from, arguments.models.as_slice()) {
        (Some(file), [name]) => import(&puller, file, name).await,
        (Some(_), _) => Err(CliError::Message("give the file one name: llmo pull --from FILE NAME".into())),
        (None, models) => {
            for name in models {
                fetch(&puller, name).await?;
            }
            Ok(())
        }
    }
}

async fn fetch(puller: &Puller, name: &str) -> Result {
    let progress = progress::for_model(name);
    let manifest = puller.pull(name, progress).await.map_err(known_models_after)?;
    say!("{}: installed, {} MiB", manifest.id, manifest.size() >> 20);
    Ok(())
}

async fn import(puller: &Puller, file: &Path, name: &str) -> Result {
    let manifest = puller.import(file, name, progress::for_model(name)).await.map_err(WiringError::from)?;
    say!("{}: imported, {} MiB", manifest.id, manifest.size() >> 20);
    Ok(())
}

fn known_models_after(error: ModelsError) -> CliError {
    CliError::from(WiringError::from(error))
}
