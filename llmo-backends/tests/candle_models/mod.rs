//! The models that candle's tests load: real weights where they were fetched, and tiny random ones written on the spot.

#![allow(dead_code)] // Each test file uses its part.

pub(crate) mod tiny;

use std::path::{Path, PathBuf};

/// A file or folder of the test models; `None`, said aloud, where they were not fetched.
///
/// `LLMO_TEST_MODELS` names their folder; by default it is `models` beside the crates. Where the variable is set, a
/// missing model is a failure.
pub(crate) fn fetched(name: &str) -> Option<PathBuf> {
    let wanted = std::env::var_os("LLMO_TEST_MODELS");
    let folder = wanted.as_ref().map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../models"), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(wanted.is_none(), "LLMO_TEST_MODELS holds no {name}");
    eprintln!("skipped: {name} was not fetched (see LLMO_TEST_MODELS)");
    None
}
