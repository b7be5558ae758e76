//! A new model service gets its weights from the storage service.

use std::sync::Arc;

use llmo_core::store::Store;
use llmo_store::catalogue::Catalogue;
use llmo_store::local::LocalStore;
use llmo_store::pull::{PullOptions, Puller, Silent, SourceKind};

use super::service::{Outcome, Service, path};

/// The smallest GGUF file: one tensor of 32 floats.
fn gguf() -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let mut file = [&b"GGUF"[..], &3u32.to_le_bytes(), &1u64.to_le_bytes(), &1u64.to_le_bytes()].concat();
    file.extend([text("general.architecture"), 8u32.to_le_bytes().to_vec(), text("llama")].concat());
    file.extend([text("token_embd.weight"), 1u32.to_le_bytes().to_vec(), 32u64.to_le_bytes().to_vec()].concat());
    file.extend([&0u32.to_le_bytes()[..], &0u64.to_le_bytes()].concat());
    file.resize(file.len().next_multiple_of(32) + 128, 0);
    file
}

#[tokio::test]
async fn a_model_that_only_the_storage_service_has_is_fetched_whole() -> Outcome {
    let (there, here, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
    let catalogue = Arc::new(Catalogue::builtin()?);
    let weights = elsewhere.path().join("some.gguf");
    std::fs::write(&weights, gguf())?;
    let theirs = Puller::new(LocalStore::open(there.path()).await?, catalogue.clone(), PullOptions::default());
    theirs.import(&weights, "mine", Arc::new(Silent)).await?;
    let service = Service::over_directory(there.path()).await;

    let mut options = PullOptions::default();
    options.sources = vec![SourceKind::Store];
    options.upstream = Some(Arc::new(service.client()));
    let ours = Puller::new(LocalStore::open(here.path()).await?, catalogue, options);
    let model = ours.ensure("mine", Arc::new(Silent)).await?;
    assert_eq!(std::fs::read(&model.weights)?, gguf());
    ours.library().verify("mine", |_| {}).await?;
    assert!(ours.ensure("nobodys", Arc::new(Silent)).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_damaged_model_at_the_storage_service_is_not_installed() -> Outcome {
    let (there, here, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
    let catalogue = Arc::new(Catalogue::builtin()?);
    let weights = elsewhere.path().join("some.gguf");
    std::fs::write(&weights, gguf())?;
    let store = LocalStore::open(there.path()).await?;
    let theirs = Puller::new(store.clone(), catalogue.clone(), PullOptions::default());
    theirs.import(&weights, "mine", Arc::new(Silent)).await?;
    // A bit flips on their disk; the manifest still says what it should be.
    let file = store.local_path(&path("mine/model.gguf")).await?.ok_or("no file")?;
    let mut bytes = std::fs::read(&file)?;
    *bytes.last_mut().ok_or("empty")? ^= 1;
    std::fs::write(&file, bytes)?;
    let service = Service::over_directory(there.path()).await;

    let mut options = PullOptions::default();
    options.sources = vec![SourceKind::Store];
    options.upstream = Some(Arc::new(service.client()));
    let ours = Puller::new(LocalStore::open(here.path()).await?, catalogue, options);
    let Err(error) = ours.pull("mine", Arc::new(Silent)).await else { return Err("installed".into()) };
    assert!(error.to_string().contains("expected sha256"), "{error}");
    assert!(ours.library().list().await?.is_empty());
    Ok(())
}
