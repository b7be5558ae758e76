//! Pulling from a hub that works, breaks, stalls, lies or isn't there.

mod support;

use std::sync::Arc;

use llmo_store::ModelsError;
use llmo_store::pull::{Silent, SourceKind};
use support::hub::{Fault, Hub};
use support::weights::gguf;
use support::{Outcome, catalogue_with_tiny, contents, options, puller};

const INSTALLED: [&str; 2] = ["tiny/manifest.json", "tiny/model.gguf"];

#[tokio::test]
async fn a_pulled_model_is_installed_under_its_name_with_its_manifest() -> Outcome {
    let (dir, bytes) = (tempfile::tempdir()?, gguf(50_000, 1));
    let hub = Hub::start(&bytes, Fault::None).await;
    let mut options = options(&[SourceKind::Hub]);
    options.hub_endpoint.clone_from(&hub.url);
    let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;

    let model = puller.ensure("tiny:latest", Arc::new(Silent)).await?;
    assert_eq!(std::fs::read(&model.weights)?, bytes);
    assert_eq!(model.manifest.license, "MIT");
    assert!(model.manifest.source.starts_with("hub http://127.0.0.1"), "{}", model.manifest.source);
    assert_eq!(contents(dir.path()), INSTALLED);

    puller.pull("tiny", Arc::new(Silent)).await?;
    assert_eq!(hub.requests(), [None], "an installed model is not fetched again");
    Ok(())
}

#[tokio::test]
async fn a_cut_connection_is_resumed_where_it_broke() -> Outcome {
    let (dir, bytes) = (tempfile::tempdir()?, gguf(50_000, 2));
    let hub = Hub::start(&bytes, Fault::CutAfter(60_000)).await;
    let mut options = options(&[SourceKind::Hub]);
    options.hub_endpoint.clone_from(&hub.url);
    let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
    puller.pull("tiny", Arc::new(Silent)).await?;
    assert_eq!(hub.requests(), [None, Some(60_000), Some(120_000), Some(180_000)]);
    puller.library().verify("tiny", |_| {}).await?;
    Ok(())
}

#[tokio::test]
async fn a_stalled_transfer_is_resumed_after_its_deadline() -> Outcome {
    let (dir, bytes) = (tempfile::tempdir()?, gguf(50_000, 3));
    let hub = Hub::start(&bytes, Fault::StallOnceAfter(70_000)).await;
    let mut options = options(&[SourceKind::Hub]);
    options.hub_endpoint.clone_from(&hub.url);
    let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
    puller.pull("tiny", Arc::new(Silent)).await?;
    assert_eq!(hub.requests(), [None, Some(70_000)]);
    Ok(())
}

#[tokio::test]
async fn a_dropped_pull_leaves_nothing_visible_and_the_next_one_resumes() -> Outcome {
    let (dir, bytes) = (tempfile::tempdir()?, gguf(50_000, 4));
    let hub = Hub::start(&bytes, Fault::StallAfter(90_000)).await;
    let mut options = options(&[SourceKind::Hub]);
    options.hub_endpoint.clone_from(&hub.url);
    options.stall_timeout = support::BOUND;
    let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;

    // Less than a portion has come, so the part is written when the transfer ends, however it ends.
    hub.set_fault(Fault::CutAfter(90_000));
    let running = tokio::spawn({
        let puller = puller.clone();
        async move { puller.pull("tiny", Arc::new(Silent)).await }
    });
    let part = dir.path().join(".llmo/pulls/tiny/model.gguf.part");
    support::until("the first bytes are on disk", || part.metadata().is_ok_and(|meta| meta.len() >= 90_000)).await;
    running.abort();
    assert!(running.await.is_err_and(|e| e.is_cancelled()));
    assert!(puller.library().list().await?.is_empty());
    assert!(matches!(puller.library().get("tiny").await, Err(ModelsError::NotInstalled(_))));

    hub.set_fault(Fault::None);
    let before = hub.requests().len();
    puller.pull("tiny", Arc::new(Silent)).await?;
    assert!(hub.requests()[before].is_some_and(|offset| offset >= 90_000), "{:?}", hub.requests());
    assert_eq!(contents(dir.path()), INSTALLED);
    Ok(())
}

#[tokio::test]
async fn hubs_without_or_with_wrong_ranges_are_served_from_the_beginning() -> Outcome {
    for fault in [Fault::NoRanges, Fault::WrongRanges] {
        let (dir, bytes) = (tempfile::tempdir()?, gguf(20_000, 5));
        let parts = dir.path().join(".llmo/pulls/tiny");
        std::fs::create_dir_all(&parts)?;
        std::fs::write(parts.join("model.gguf.part"), &bytes[..1000])?;
        let hub = Hub::start(&bytes, fault).await;
        let mut options = options(&[SourceKind::Hub]);
        options.hub_endpoint.clone_from(&hub.url);
        let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
        puller.pull("tiny", Arc::new(Silent)).await?;
        assert_eq!(hub.requests()[0], Some(1000));
        puller.library().verify("tiny", |_| {}).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_part_that_is_not_the_beginning_of_the_file_is_thrown_away() -> Outcome {
    for left in [vec![7; 5000], vec![7; 1 << 20]] {
        let (dir, bytes) = (tempfile::tempdir()?, gguf(20_000, 6));
        let parts = dir.path().join(".llmo/pulls/tiny");
        std::fs::create_dir_all(&parts)?;
        std::fs::write(parts.join("model.gguf.part"), &left)?;
        let hub = Hub::start(&bytes, Fault::None).await;
        let mut options = options(&[SourceKind::Hub]);
        options.hub_endpoint.clone_from(&hub.url);
        let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
        puller.pull("tiny", Arc::new(Silent)).await?;
        puller.library().verify("tiny", |_| {}).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_recovers_is_waited_for() -> Outcome {
    let (dir, bytes) = (tempfile::tempdir()?, gguf(1000, 7));
    let hub = Hub::start(&bytes, Fault::StatusTimes(503, 2)).await;
    let mut options = options(&[SourceKind::Hub]);
    options.hub_endpoint.clone_from(&hub.url);
    let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
    puller.pull("tiny", Arc::new(Silent)).await?;
    assert_eq!(hub.requests().len(), 3);
    Ok(())
}

#[tokio::test]
async fn other_bytes_than_the_pinned_ones_are_never_installed() -> Outcome {
    let (bytes, mut other) = (gguf(20_000, 8), gguf(20_000, 8));
    let last = other.len() - 1;
    other[last] ^= 1;
    for (served, complaint) in [(other, "expected sha256"), (gguf(30_000, 8), "bytes, got")] {
        let dir = tempfile::tempdir()?;
        let hub = Hub::start(&served, Fault::None).await;
        let mut options = options(&[SourceKind::Hub]);
        options.hub_endpoint.clone_from(&hub.url);
        let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
        let Err(error) = puller.pull("tiny", Arc::new(Silent)).await else { return Err("installed".into()) };
        assert!(error.to_string().contains(complaint), "{error}");
        assert!(puller.library().list().await?.is_empty());
        let left: u64 = contents(dir.path()).iter().map(|file| dir.path().join(file).metadata().unwrap().len()).sum();
        assert_eq!(left, 0, "no wrong byte is kept");
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_file_or_an_absent_hub_is_explained() -> Outcome {
    let (dir, bytes) = (tempfile::tempdir()?, gguf(1000, 9));
    let hub = Hub::start(&bytes, Fault::Status(404)).await;
    let mut options = options(&[SourceKind::Hub, SourceKind::Registry]);
    options.hub_endpoint.clone_from(&hub.url);
    let catalogue = catalogue_with_tiny(&bytes);
    let there = puller(dir.path(), catalogue.clone(), options.clone()).await;
    let Err(error) = there.pull("tiny", Arc::new(Silent)).await else { return Err("installed".into()) };
    let text = error.to_string();
    for part in ["404", "package tiny-model 1.0", "does not start", "python3-pip", "llmo pull --from FILE tiny"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(hub.requests().len(), 1, "a 404 is not asked for again");

    options.hub_endpoint = "http://127.0.0.1:1".to_owned();
    let absent = puller(dir.path(), catalogue, options).await;
    let start = std::time::Instant::now();
    let Err(error) = absent.pull("tiny", Arc::new(Silent)).await else { return Err("installed".into()) };
    assert!(error.to_string().contains("no connection"), "{error}");
    assert!(start.elapsed() < std::time::Duration::from_secs(3), "no network is no reason to wait");
    Ok(())
}

#[tokio::test]
async fn two_pulls_of_one_model_fetch_it_once() -> Outcome {
    let (dir, bytes) = (tempfile::tempdir()?, gguf(50_000, 10));
    let hub = Hub::start(&bytes, Fault::None).await;
    let mut options = options(&[SourceKind::Hub]);
    options.hub_endpoint.clone_from(&hub.url);
    let catalogue = catalogue_with_tiny(&bytes);
    // Two stores over one directory are what two processes have.
    let one = puller(dir.path(), catalogue.clone(), options.clone()).await;
    let two = puller(dir.path(), catalogue, options).await;
    let (a, b) = tokio::join!(one.pull("tiny", Arc::new(Silent)), two.pull("tiny", Arc::new(Silent)));
    assert_eq!(a?, b?);
    assert_eq!(hub.requests().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_truncated_weight_file_is_refused_as_damaged() -> Outcome {
    let mut bytes = gguf(20_000, 11);
    bytes.truncate(bytes.len() - 1);
    let dir = tempfile::tempdir()?;
    let hub = Hub::start(&bytes, Fault::None).await;
    let mut options = options(&[SourceKind::Hub]);
    options.hub_endpoint.clone_from(&hub.url);
    let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
    let outcome = puller.pull("tiny", Arc::new(Silent)).await;
    assert!(matches!(outcome, Err(ModelsError::Damaged { .. })), "{outcome:?}");
    assert!(contents(dir.path()).is_empty(), "{:?}", contents(dir.path()));
    Ok(())
}

#[tokio::test]
async fn unpinned_files_need_consent_and_an_authenticated_connection() -> Outcome {
    let (dir, bytes) = (tempfile::tempdir()?, gguf(1000, 12));
    let text = r#"
        [[model]]
        id = "loose"
        task = "generate"
        weights = "gguf"
        file = [{ name = "model.gguf" }]
        [[model.source]]
        kind = "hub"
        repo = "somebody/tiny"
    "#;
    let catalogue = Arc::new(llmo_store::catalogue::Catalogue::builtin()?.with_additions(text, "test")?);
    let hub = Hub::start(&bytes, Fault::None).await;
    let mut options = options(&[SourceKind::Hub]);
    options.hub_endpoint.clone_from(&hub.url);
    let strict = puller(dir.path(), catalogue.clone(), options.clone()).await;
    assert!(matches!(strict.pull("loose", Arc::new(Silent)).await, Err(ModelsError::Unpinned { .. })));
    options.allow_unpinned = true;
    let lax = puller(dir.path(), catalogue, options).await;
    let Err(error) = lax.pull("loose", Arc::new(Silent)).await else { return Err("installed".into()) };
    assert!(error.to_string().contains("not https"), "{error}");
    assert!(hub.requests().is_empty());
    Ok(())
}
