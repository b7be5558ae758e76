//! What a pull tells while it goes on, and what a directory or another store has to offer.

mod support;

use std::sync::Arc;

use llmo_core::store::Store;
use llmo_store::catalogue::Catalogue;
use llmo_store::local::LocalStore;
use llmo_store::pull::{Phase, Progress, Silent, SourceKind};
use parking_lot::Mutex;
use support::hub::{Fault, Hub};
use support::weights::gguf;
use support::{Outcome, catalogue_with_tiny, options, puller};

/// Writes everything down.
#[derive(Default)]
struct Record {
    phases: Mutex<Vec<String>>,
    bytes: Mutex<Vec<(u64, Option<u64>)>>,
}

impl Progress for Record {
    fn phase(&self, phase: &Phase) {
        self.phases.lock().push(match phase {
            Phase::Asking { source } => format!("asking {}", source.split(' ').next().unwrap_or_default()),
            Phase::Failed { source, .. } => format!("failed {}", source.split(' ').next().unwrap_or_default()),
            Phase::Receiving { file, resumed } => format!("receiving {file} from {resumed}"),
            Phase::Installing { .. } => "installing".to_owned(),
            other => format!("{other:?}"),
        });
    }

    fn bytes(&self, done: u64, total: Option<u64>) {
        self.bytes.lock().push((done, total));
    }
}

#[tokio::test]
async fn progress_names_each_phase_and_ends_at_the_total() -> Outcome {
    let (dir, mirror, bytes) = (tempfile::tempdir()?, tempfile::tempdir()?, gguf(20_000, 1));
    std::fs::create_dir(mirror.path().join("tiny"))?;
    std::fs::write(mirror.path().join("tiny/model.gguf"), &bytes)?;
    let hub = Hub::start(&bytes, Fault::Status(500)).await;
    let mut options = options(&[SourceKind::Hub, SourceKind::Directory]);
    options.hub_endpoint.clone_from(&hub.url);
    options.directories = vec![mirror.path().to_owned()];
    options.retries = 0;
    let parts = dir.path().join(".llmo/pulls/tiny");
    std::fs::create_dir_all(&parts)?;
    std::fs::write(parts.join("model.gguf.part"), &bytes[..500])?;

    let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
    let record = Arc::new(Record::default());
    let manifest = puller.pull("tiny", record.clone()).await?;
    assert!(manifest.source.starts_with("directory "), "{}", manifest.source);
    assert_eq!(
        *record.phases.lock(),
        [
            "asking hub",
            "receiving model.gguf from 500",
            "failed hub",
            "asking directory",
            "receiving model.gguf from 500",
            "installing"
        ]
    );
    let total = bytes.len() as u64;
    let told = record.bytes.lock().clone();
    assert!(told.iter().all(|(done, of)| *done <= total && *of == Some(total)), "{told:?}");
    assert_eq!(told.last(), Some(&(total, Some(total))));
    puller.library().verify("tiny", |_| {}).await?;
    Ok(())
}

#[tokio::test]
async fn a_resumed_copy_from_another_store_goes_on_or_begins_again() -> Outcome {
    let bytes = gguf(20_000, 2);
    for left in [bytes[..5000].to_vec(), vec![9; 5000], bytes.clone()] {
        let (dir, there, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
        std::fs::write(elsewhere.path().join("f"), &bytes)?;
        let catalogue = Arc::new(Catalogue::builtin()?);
        let theirs = puller(there.path(), catalogue.clone(), options(&[])).await;
        theirs.import(&elsewhere.path().join("f"), "mine", Arc::new(Silent)).await?;

        let parts = dir.path().join(".llmo/pulls/mine");
        std::fs::create_dir_all(&parts)?;
        std::fs::write(parts.join("model.gguf.part"), &left)?;
        let mut options = options(&[SourceKind::Store]);
        let upstream: Arc<dyn Store> = Arc::new(LocalStore::open(there.path()).await?);
        options.upstream = Some(upstream);
        let ours = puller(dir.path(), catalogue, options).await;
        let record = Arc::new(Record::default());
        ours.pull("mine", record.clone()).await?;
        ours.library().verify("mine", |_| {}).await?;
        let total = bytes.len() as u64;
        assert_eq!(record.bytes.lock().last(), Some(&(total, Some(total))));
    }
    Ok(())
}
