//! Damaged headers that our check lets pass are given to llama.cpp itself, in a process that may die of it.
//!
//! `LLMO_FUZZ_HEADERS` says how many (32 by default), `LLMO_FUZZ_SEED` which.
#![cfg(feature = "llama-cpp")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // Clippy knows tests, but not what they call.

#[path = "../../llmo-core/tests/support/gguf_mutator.rs"]
mod gguf_mutator;
#[path = "llama_cpp/support.rs"]
#[allow(dead_code)]
mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use gguf_mutator::Mutator;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llmo_core::weights::GgufHeader;

/// Names the directory of files to load, in the child.
const CHILD: &str = "LLMO_TEST_LOAD_HEADERS";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn llama_cpp_survives_every_damaged_header_that_passes_our_check() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return load_all(directory.as_ref());
    }
    let path = support::weights();
    let size = path.metadata().unwrap().len();
    let mut header = Vec::new();
    File::open(&path).unwrap().read_to_end(&mut header).unwrap();
    header.truncate(GgufHeader::parse(&header, size).unwrap().data_start() as usize);
    let wanted = number("LLMO_FUZZ_HEADERS", 32);
    let mut mutator = Mutator::new(number("LLMO_FUZZ_SEED", 1));
    let directory = tempfile::tempdir().unwrap();
    let (mut passed, mut tried) = (0, 0);
    while passed < wanted {
        tried += 1;
        assert!(tried < 200 * wanted, "hardly any mutant passes: {passed} of {tried}");
        // Most of the header is the vocabulary: half of the faults go where the facts are.
        let (front, back) = header.split_at(if tried % 2 == 0 { 2_048 } else { header.len() });
        let mutant = [mutator.mutate(front), back.to_vec()].concat();
        if mutant != header && GgufHeader::parse(&mutant, size).is_ok() {
            let mut file = File::create(directory.path().join(format!("{passed:05}.gguf"))).unwrap();
            file.write_all(&mutant).unwrap();
            // As long as it should be, and sparse: the vocabulary is all that is read.
            file.set_len(size).unwrap();
            passed += 1;
        }
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "llama_cpp_survives_every_damaged_header_that_passes_our_check", "--nocapture"])
        .env(CHILD, directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().rfind(|line| line.starts_with("loading ")).unwrap_or("nothing was loaded").to_owned();
    if !output.status.success() {
        let kept = directory.keep();
        panic!("llama.cpp died ({}) at {last}, in {}", output.status, kept.display());
    }
    println!("{tried} mutants, {passed} passed our check, all survived; the last was {last}");
    assert_eq!(said.lines().filter(|line| line.starts_with("loading ")).count() as u64, wanted);
}

/// In the child: loads the vocabulary of every file. A refusal is as good as a success.
fn load_all(directory: &Path) {
    let mut backend = LlamaBackend::init().unwrap();
    backend.void_logs();
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        println!("loading {}", file.display());
        let params = LlamaModelParams::default().with_vocab_only(true);
        drop(LlamaModel::load_from_file(&backend, &file, &params));
    }
}
