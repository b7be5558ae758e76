//! Variants of models: made once, checked, void when their source changes, gone with their model.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use llmo_core::store::StoreError;
use llmo_store::ModelsError;
use llmo_store::pull::{Puller, Silent, SourceKind, VariantSource};
use support::weights::gguf;
use support::{Outcome, catalogue_with_tiny, contents, options, puller, sha256};

const SOURCE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn of(sha256: &str) -> VariantSource<'_> {
    VariantSource::new("tiny", sha256, "q8_0")
}

async fn a_puller(dir: &std::path::Path) -> Puller {
    puller(dir, catalogue_with_tiny(&gguf(100, 1)), options(&[SourceKind::Hub])).await
}

async fn write(path: std::path::PathBuf, bytes: Vec<u8>) -> Result<(), ModelsError> {
    std::fs::write(path, bytes).map_err(|source| StoreError::Io { context: "writing".into(), source }.into())
}

#[tokio::test]
async fn a_variant_is_made_once_whoever_wants_it_at_the_same_time() -> Outcome {
    let dir = tempfile::tempdir()?;
    let made = Arc::new(AtomicU32::new(0));
    let bytes = gguf(1000, 7);
    let wanting = (0..8).map(|_| {
        let (dir, made, bytes) = (dir.path().to_owned(), Arc::clone(&made), bytes.clone());
        async move {
            let puller = a_puller(&dir).await;
            let make = |path| async move {
                made.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                write(path, bytes).await
            };
            puller.make_variant(of(SOURCE), "a tool", &Silent, make).await
        }
    });
    for outcome in futures::future::join_all(wanting).await {
        let (variant, file) = outcome?;
        assert_eq!((variant.source_sha256.as_str(), variant.tool.as_str()), (SOURCE, "a tool"));
        assert_eq!(variant.file.sha256, sha256(&bytes));
        assert_eq!(std::fs::read(file)?, bytes);
    }
    assert_eq!(made.load(Ordering::Relaxed), 1);
    assert_eq!(contents(dir.path()), ["tiny/q8_0/manifest.json", "tiny/q8_0/model.gguf"]);
    Ok(())
}

#[tokio::test]
async fn another_source_or_a_changed_file_makes_it_void() -> Outcome {
    let dir = tempfile::tempdir()?;
    let puller = a_puller(dir.path()).await;
    let (_, file) = puller.make_variant(of(SOURCE), "a tool", &Silent, |path| write(path, gguf(1000, 7))).await?;
    assert!(puller.variant(of(SOURCE)).await?.is_some());
    assert!(puller.variant(of(OTHER)).await?.is_none());
    let (variant, _) = puller.make_variant(of(OTHER), "a tool", &Silent, |path| write(path, gguf(1000, 8))).await?;
    assert_eq!(variant.source_sha256, OTHER);
    assert!(puller.variant(of(SOURCE)).await?.is_none());
    std::fs::write(&file, gguf(1000, 9))?;
    assert!(puller.variant(of(OTHER)).await?.is_none(), "its bytes are others");
    Ok(())
}

#[tokio::test]
async fn what_fails_leaves_nothing_and_what_was_left_is_begun_anew() -> Outcome {
    let dir = tempfile::tempdir()?;
    let puller = a_puller(dir.path()).await;
    let full = |path: std::path::PathBuf| async move {
        std::fs::write(path, b"half").unwrap();
        Err(StoreError::NoSpace("the 8-bit weights".into()).into())
    };
    let outcome = puller.make_variant(of(SOURCE), "a tool", &Silent, full).await;
    assert!(matches!(outcome, Err(ModelsError::Store(StoreError::NoSpace(_)))), "{outcome:?}");
    let outcome = puller.make_variant(of(SOURCE), "a tool", &Silent, |path| write(path, b"no model".to_vec())).await;
    assert!(matches!(outcome, Err(ModelsError::Damaged { .. })), "{outcome:?}");
    assert!(contents(dir.path()).is_empty(), "{:?}", contents(dir.path()));

    // As after a kill -9 in the middle.
    let staging = dir.path().join(".llmo/variants/tiny.q8_0");
    std::fs::create_dir_all(&staging)?;
    std::fs::write(staging.join("model.gguf"), b"half")?;
    puller.make_variant(of(SOURCE), "a tool", &Silent, |path| write(path, gguf(1000, 7))).await?;
    assert_eq!(contents(dir.path()), ["tiny/q8_0/manifest.json", "tiny/q8_0/model.gguf"]);
    Ok(())
}

#[tokio::test]
async fn a_variant_is_no_model_of_its_own_and_goes_with_its_model() -> Outcome {
    let dir = tempfile::tempdir()?;
    let puller = a_puller(dir.path()).await;
    let (mut variant, _) =
        puller.make_variant(of(SOURCE), "a tool", &Silent, |path| write(path, gguf(1000, 7))).await?;
    assert!(puller.library().list().await?.is_empty());
    variant.measured = serde_json::json!({"before": {"perplexity": 12.0}});
    puller.describe_variant(&variant).await?;
    assert_eq!(puller.variant(of(SOURCE)).await?.map(|(found, _)| found), Some(variant));
    puller.library().remove("tiny").await?;
    assert!(contents(dir.path()).is_empty(), "{:?}", contents(dir.path()));
    Ok(())
}
