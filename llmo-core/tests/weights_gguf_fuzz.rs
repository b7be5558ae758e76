//! Mutated GGUF headers: no panic, no hang, no allocation that the bytes don't pay for.
//!
//! 10 000 mutations in the suite; `LLMO_FUZZ_MUTATIONS=1000000 cargo test --release -p llmo-core --test weights_gguf_fuzz`
//! makes a million, `LLMO_FUZZ_SEED` others.
#![allow(unsafe_code, clippy::unwrap_used)] // An allocator that counts can't be had without; a test fails by panicking.

#[path = "support/gguf_mutator.rs"]
mod gguf_mutator;
#[path = "support/gguf_writer.rs"]
#[allow(dead_code)]
mod gguf_writer;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use gguf_mutator::Mutator;
use gguf_writer::GgufWriter;
use llmo_core::weights::GgufHeader;

/// Counts what is allocated at a time.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands every call on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn no_mutation_of_a_header_panics_or_allocates_without_bound() {
    let (mutations, seed) = (number("LLMO_FUZZ_MUTATIONS", 10_000), number("LLMO_FUZZ_SEED", 1));
    let sound = GgufWriter::sound();
    let (header, file) = (sound.header(), sound.file());
    let mut mutator = Mutator::new(seed);
    let (mut accepted, mut largest) = (0_u64, 0);
    for number in 0..mutations {
        let mutant = mutator.mutate(if number % 4 == 0 { &file } else { &header });
        let size = file.len() as u64;
        let before = LIVE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let result = std::panic::catch_unwind(|| GgufHeader::parse(&mutant, size).is_ok());
        let taken = PEAK.load(Ordering::Relaxed).saturating_sub(before);
        let accepts = result.unwrap_or_else(|_| panic!("mutation {number} of seed {seed} panicked: {mutant:?}"));
        accepted += u64::from(accepts);
        largest = largest.max(taken);
        // A count costs a few dozen bytes in the file for each element it claims.
        assert!(taken < 64 * mutant.len() + 65_536, "mutation {number} of seed {seed} took {taken} bytes");
    }
    println!("{mutations} mutations of seed {seed}: {accepted} accepted, at most {largest} bytes allocated");
    assert!(accepted > 0 && accepted < mutations, "the mutations are neither all harmless nor all fatal");
}
