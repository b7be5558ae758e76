//! The library of installed models, and importing one's own.

mod support;

use std::sync::Arc;

use llmo_core::store::{StoreError, StorePath};
use llmo_store::ModelsError;
use llmo_store::catalogue::{Catalogue, Task};
use llmo_store::pull::Silent;
use support::weights::{gguf, safetensors};
use support::{Outcome, catalogue_with_tiny, contents, options, puller};

#[tokio::test]
async fn an_imported_gguf_is_listed_shown_verified_and_removed_whole() -> Outcome {
    let (dir, elsewhere, bytes) = (tempfile::tempdir()?, tempfile::tempdir()?, gguf(1000, 1));
    let file = elsewhere.path().join("my.gguf");
    std::fs::write(&file, &bytes)?;
    let puller = puller(dir.path(), Arc::new(Catalogue::builtin()?), options(&[])).await;
    let library = puller.library();
    puller.import(&file, "mine", Arc::new(Silent)).await?;

    let listed = library.list().await?;
    assert_eq!(listed.iter().map(|m| (m.id.as_str(), m.size())).collect::<Vec<_>>(), [("mine", bytes.len() as u64)]);
    let details = library.show("mine").await?;
    assert_eq!(details.facts.architecture.as_deref(), Some("llama"));
    assert_eq!((details.facts.context_length, details.facts.parameters), (Some(128), Some(1000)));
    assert_eq!((details.manifest.title.as_str(), details.manifest.task), ("Tiny", Task::Generate));
    let model = library.local("mine").await?;
    assert_eq!((model.dir.join("model.gguf"), std::fs::read(&model.weights)?), (model.weights.clone(), bytes.clone()));
    library.verify("mine", |_| {}).await?;
    assert!(matches!(puller.import(&file, "mine", Arc::new(Silent)).await, Err(ModelsError::AlreadyInstalled(_))));

    assert!(library.remove("mine").await? >= bytes.len() as u64);
    assert!(contents(dir.path()).is_empty(), "{:?}", contents(dir.path()));
    assert!(matches!(library.remove("mine").await, Err(ModelsError::UnknownModel { .. })));
    Ok(())
}

#[tokio::test]
async fn a_flipped_bit_is_found_and_a_missing_file_is_no_model() -> Outcome {
    let (dir, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let file = elsewhere.path().join("my.gguf");
    std::fs::write(&file, gguf(1000, 2))?;
    let puller = puller(dir.path(), Arc::new(Catalogue::builtin()?), options(&[])).await;
    puller.import(&file, "mine", Arc::new(Silent)).await?;
    let stored = dir.path().join("mine/model.gguf");
    let mut bytes = std::fs::read(&stored)?;
    bytes[500] ^= 4;
    std::fs::write(&stored, &bytes)?;
    let outcome = puller.library().verify("mine", |_| {}).await;
    assert!(matches!(outcome, Err(ModelsError::Corrupt { .. })), "{outcome:?}");

    bytes.truncate(700);
    std::fs::write(&stored, &bytes)?;
    assert!(matches!(puller.library().local("mine").await, Err(ModelsError::Corrupt { .. })));
    std::fs::remove_file(&stored)?;
    assert!(matches!(puller.library().verify("mine", |_| {}).await, Err(ModelsError::Corrupt { .. })));
    assert!(matches!(puller.library().local("mine").await, Err(ModelsError::Corrupt { .. })));
    Ok(())
}

#[tokio::test]
async fn a_model_without_a_manifest_or_with_a_foreign_one_is_not_there() -> Outcome {
    let dir = tempfile::tempdir()?;
    let puller = puller(dir.path(), Arc::new(Catalogue::builtin()?), options(&[])).await;
    std::fs::create_dir_all(dir.path().join("smollm2-135m"))?;
    std::fs::write(dir.path().join("smollm2-135m/model.gguf"), "half")?;
    std::fs::create_dir_all(dir.path().join("broken"))?;
    for manifest in [
        "{",
        "{}",
        r#"{"format":1,"id":"other","task":"generate","weights":"gguf","files":[]}"#,
        r#"{"format":2,"id":"broken","task":"generate","weights":"gguf","files":[]}"#,
        r#"{"format":1,"id":"broken","task":"generate","weights":"gguf","files":[{"name":"../x.gguf","size":1,"sha256":"0"}]}"#,
    ] {
        std::fs::write(dir.path().join("broken/manifest.json"), manifest)?;
        assert!(puller.library().list().await?.is_empty(), "{manifest}");
        assert!(puller.library().local("broken").await.is_err(), "{manifest}");
    }
    assert!(
        matches!(puller.library().get("smollm2").await, Err(ModelsError::NotInstalled(id)) if id == "smollm2-135m")
    );
    assert_eq!(puller.library().remove("smollm2").await?, 4, "what a broken pull left can be removed");
    Ok(())
}

#[tokio::test]
async fn unknown_names_and_path_tricks_get_a_suggestion_or_a_refusal() -> Outcome {
    let dir = tempfile::tempdir()?;
    let puller = puller(dir.path(), Arc::new(Catalogue::builtin()?), options(&[])).await;
    for (name, part) in
        [("smolm2", "did you mean smollm2"), ("../x", "no model"), ("a\0b", "no model"), ("", "no model")]
    {
        for outcome in [
            puller.library().get(name).await.map(drop),
            puller.library().remove(name).await.map(drop),
            puller.pull(name, Arc::new(Silent)).await.map(drop),
        ] {
            let Err(error) = outcome else { return Err(name.into()) };
            assert!(error.to_string().contains(part), "{name:?}: {error}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn damaged_and_foreign_files_are_refused_before_anything_is_copied() -> Outcome {
    let (dir, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let puller = puller(dir.path(), Arc::new(Catalogue::builtin()?), options(&[])).await;
    let whole = gguf(100, 3);
    let file = elsewhere.path().join("bad.gguf");
    for length in (0..whole.len()).step_by(7) {
        std::fs::write(&file, &whole[..length])?;
        let outcome = puller.import(&file, "bad", Arc::new(Silent)).await;
        assert!(matches!(outcome, Err(ModelsError::Damaged { .. })), "{length} bytes: {outcome:?}");
    }
    assert!(contents(dir.path()).is_empty());
    std::fs::write(&file, &whole)?;
    for name in ["../bad", "a/b", ".bad", ""] {
        assert!(
            matches!(puller.import(&file, name, Arc::new(Silent)).await, Err(ModelsError::InvalidName(_))),
            "{name}"
        );
    }
    assert!(puller.import(&elsewhere.path().join("nothing"), "x", Arc::new(Silent)).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_name_of_the_catalogue_takes_only_the_pinned_bytes() -> Outcome {
    let (dir, elsewhere, bytes) = (tempfile::tempdir()?, tempfile::tempdir()?, gguf(1000, 4));
    let puller = puller(dir.path(), catalogue_with_tiny(&bytes), options(&[])).await;
    let file = elsewhere.path().join("some.gguf");
    std::fs::write(&file, gguf(1000, 5))?;
    let outcome = puller.import(&file, "tiny:latest", Arc::new(Silent)).await;
    assert!(matches!(outcome, Err(ModelsError::Store(StoreError::HashMismatch { .. }))), "{outcome:?}");
    std::fs::write(&file, &bytes)?;
    let manifest = puller.import(&file, "tiny:latest", Arc::new(Silent)).await?;
    assert_eq!((manifest.id.as_str(), manifest.license.as_str()), ("tiny", "MIT"));
    Ok(())
}

#[tokio::test]
async fn a_directory_with_safetensors_is_an_embedding_model() -> Outcome {
    let (dir, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let puller = puller(dir.path(), Arc::new(Catalogue::builtin()?), options(&[])).await;
    std::fs::write(elsewhere.path().join("model.safetensors"), safetensors(10, 1))?;
    std::fs::write(elsewhere.path().join("config.json"), "{}")?;
    let Err(error) = puller.import(elsewhere.path(), "vectors", Arc::new(Silent)).await else { return Err("?".into()) };
    assert!(error.to_string().contains("no tokenizer.json"), "{error}");
    std::fs::write(elsewhere.path().join("tokenizer.json"), "{}")?;
    let manifest = puller.import(elsewhere.path(), "vectors", Arc::new(Silent)).await?;
    assert_eq!((manifest.task, manifest.files.len()), (Task::Embed, 3));
    let model = puller.library().local("vectors").await?;
    assert!(model.dir.join("tokenizer.json").is_file() && model.weights.ends_with("vectors/model.safetensors"));
    Ok(())
}

#[tokio::test]
async fn removing_a_model_takes_its_manifest_first() -> Outcome {
    let (dir, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let file = elsewhere.path().join("my.gguf");
    std::fs::write(&file, gguf(1000, 6))?;
    let puller = puller(dir.path(), Arc::new(Catalogue::builtin()?), options(&[])).await;
    puller.import(&file, "mine", Arc::new(Silent)).await?;
    // A file that can't be deleted: the model is gone all the same.
    std::fs::create_dir(dir.path().join("mine/zzz"))?;
    std::fs::write(dir.path().join("mine/zzz/extra"), "x")?;
    puller.library().store().delete(&StorePath::new("mine/manifest.json")?).await?;
    assert!(puller.library().list().await?.is_empty());
    puller.library().remove("mine").await?;
    assert!(contents(dir.path()).is_empty());
    Ok(())
}
