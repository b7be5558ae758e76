use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use super::*;
use crate::llama_cpp::tiles::layout::pack;
use crate::llama_cpp::tiles::numbers::{half, whole};

struct Threads {
    thread: usize,
    barrier: Arc<Barrier>,
    counter: Arc<AtomicUsize>,
    count: usize,
}

impl Team for Threads {
    fn place(&self) -> (usize, usize) {
        (self.thread, self.count)
    }
    fn wait(&self) {
        self.barrier.wait();
    }
    fn set(&self, value: usize) {
        self.counter.store(value, Ordering::SeqCst);
    }
    fn next(&self) -> usize {
        self.counter.fetch_add(1, Ordering::SeqCst)
    }
}

/// Rows as GGUF stores them, and what they stand for.
fn weights(kind: Kind, rows: usize, blocks: usize, random: &mut fastrand::Rng) -> (Vec<u8>, Vec<f32>) {
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for _ in 0..rows * blocks {
        let d = half(random.f32().mul_add(0.02, 0.01));
        bytes.extend(d);
        match kind {
            Kind::Q4_1 => {
                let m = half(-random.f32().mul_add(0.1, 0.05));
                bytes.extend(m);
                let quants: Vec<u8> = (0..16).map(|_| random.u8(..)).collect();
                let nibbles = quants.iter().map(|q| q & 15).chain(quants.iter().map(|q| q >> 4));
                values.extend(nibbles.map(|q| whole(d).mul_add(f32::from(q), whole(m))));
                bytes.extend(quants);
            }
            Kind::Q8_0 => {
                let quants: Vec<u8> = (0..32).map(|_| random.u8(..)).collect();
                values.extend(quants.iter().map(|&q| whole(d) * f32::from(q.cast_signed())));
                bytes.extend(quants);
            }
        }
    }
    (bytes, values)
}

/// A block of activations as llama.cpp rounds it: 8 bits each, with a scale of 16 bits.
fn rounded(values: &[f32]) -> Vec<f64> {
    let largest = values.iter().fold(0f32, |most, value| most.max(value.abs()));
    if largest == 0.0 {
        return vec![0.0; values.len()];
    }
    let near = |scale: f32| {
        let below = half(scale);
        let above = (u16::from_le_bytes(below) + 1).to_le_bytes();
        if scale - whole(below) < whole(above) - scale { whole(below) } else { whole(above) }
    };
    let scale = f64::from(near(largest / 127.0));
    values.iter().map(|value| f64::from((value * (127.0 / largest)).round_ties_even()) * scale).collect()
}

struct Sendable<T>(T);
// SAFETY: the threads of the test write to different places.
#[allow(unsafe_code)]
unsafe impl<T> Sync for Sendable<T> {}
#[allow(unsafe_code)]
unsafe impl<T> Send for Sendable<T> {}

#[allow(unsafe_code)]
fn compute(product: Product, tiles: &[u8], values: &[f32], threads: usize) -> Vec<f32> {
    let mut results = vec![f32::NAN; product.rows * product.columns];
    let mut memory = vec![0f32; product.memory(threads).div_ceil(4)];
    let (barrier, counter) = (Arc::new(Barrier::new(threads)), Arc::new(AtomicUsize::new(0)));
    let shared = Sendable((results.as_mut_ptr(), memory.as_mut_ptr(), values.as_ptr(), tiles.as_ptr()));
    thread::scope(|scope| {
        for thread in 0..threads {
            let team = Threads { thread, barrier: Arc::clone(&barrier), counter: Arc::clone(&counter), count: threads };
            let shared = &shared;
            scope.spawn(move || {
                let (results, memory, values, tiles) = shared.0;
                // SAFETY: all sizes are those of the product.
                unsafe {
                    let row = product.blocks * BLOCK;
                    let value = |column| values.add(column * row);
                    product.compute(&team, tiles, memory.cast(), value, |column| results.add(column * product.rows));
                }
            });
        }
    });
    results
}

#[test]
fn products_are_those_of_the_weights_and_do_not_depend_on_the_batch_or_the_threads() {
    if !avx512::is_supported() {
        eprintln!("no AVX-512 VNNI here: nothing to test");
        return;
    }
    let mut random = fastrand::Rng::with_seed(7);
    for kind in [Kind::Q4_1, Kind::Q8_0] {
        for (rows, blocks) in [(16, 1), (48, 18), (208, 5)] {
            let (bytes, weights) = weights(kind, rows, blocks, &mut random);
            let mut tiles = vec![0; bytes.len()];
            pack(kind, blocks, &bytes, &mut tiles);
            let most = 41;
            let row = blocks * BLOCK;
            let mut values: Vec<f32> = (0..most * row).map(|_| random.f32() * 4.0 - 2.0).collect();
            values[..BLOCK].fill(0.0);
            let alone: Vec<f32> = (0..most)
                .flat_map(|column| {
                    let product = Product { kind, blocks, rows, columns: 1 };
                    compute(product, &tiles, &values[column * row..][..row], 1)
                })
                .collect();
            for (at, &result) in alone.iter().enumerate() {
                let (column, output) = (at / rows, at % rows);
                let pairs = values[column * row..][..row].chunks(BLOCK).zip(weights[output * row..].chunks(BLOCK));
                let (mut exact, mut size) = (0.0, 0.0);
                for (values, weights) in pairs {
                    for (x, &w) in rounded(values).into_iter().zip(weights) {
                        exact += x * f64::from(w);
                        size += (x * f64::from(w)).abs();
                    }
                }
                // A block's sum for `m` is rounded to an `f16`, as llama.cpp does it.
                let bound = if kind == Kind::Q4_1 { 2e-3 } else { 1e-5 };
                assert!((f64::from(result) - exact).abs() <= bound * size + 1e-6, "{kind:?}: {result} for {exact}");
            }
            for columns in (1..=13).chain([24, 25, 32, most]) {
                for threads in [1, 2, 3] {
                    let together = compute(Product { kind, blocks, rows, columns }, &tiles, &values, threads);
                    assert_eq!(together, alone[..columns * rows], "{kind:?} {columns} columns, {threads} threads");
                }
            }
        }
    }
}
