//! Every translation of every dialect against files that people can read, in both directions.
//!
//! * requests: `NAME.request.json` is what a client sends, `NAME.core.txt` what it becomes (or the error's body).
//! * answers: `NAME.events.json` is what models say, `NAME.answer.json` and `NAME.stream.txt` what clients get.
//! * pulls: `NAME.steps.json` is what is done, `NAME.stream.txt` what clients are told of it.
//! * errors: one file a dialect with the body of every fault.
//!
//! `UPDATE_GOLDEN=1 cargo test -p llmo-server --test golden` writes the expected files anew; read the diff.
#![allow(missing_docs, clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod answers;
mod errors;
mod requests;

use std::fs;
use std::path::{Path, PathBuf};

/// The directory of a kind of files.
fn dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// All files in `dir` that end in `suffix`, with the part before it.
fn inputs(dir: &Path, suffix: &str) -> Vec<(String, String)> {
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name()?.to_str()?.strip_suffix(suffix)?.to_owned();
            Some((name, fs::read_to_string(path).unwrap()))
        })
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no {suffix} in {}", dir.display());
    found
}

/// Compares with the expected file, or writes it.
fn expect(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert!(expected == actual, "{}\n--- expected\n{expected}\n--- actual\n{actual}", path.display());
}
