//! What each token costs on its way out: joining characters and looking for stop strings, in tokens a second.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use llmo_core::text::OutputAssembler;

/// Tokens as they come: words, punctuation, a character in two halves.
fn tokens() -> Vec<&'static [u8]> {
    let sentence: [&[u8]; 8] = [b"The", b" quick", b" brown", b" fox", b",", b" \xc5", b"\xbc", b" END"];
    sentence.into_iter().cycle().take(512).collect()
}

fn stops(n: usize) -> Vec<String> {
    // Each begins like something that the text often has, so that the matcher has to hold back.
    (0..n).map(|i| format!(" ENDING {i}")).collect()
}

fn matching(c: &mut Criterion) {
    let tokens = tokens();
    let mut group = c.benchmark_group("stop_matching");
    group.throughput(Throughput::Elements(tokens.len() as u64));
    for n in [0, 1, 4, 16] {
        group.bench_with_input(BenchmarkId::from_parameter(n), &stops(n), |b, stops| {
            b.iter(|| {
                let mut output = OutputAssembler::new(stops.clone());
                let mut length = 0;
                for token in black_box(&tokens) {
                    length += output.push(token).text.len();
                }
                length + output.finish().len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, matching);
criterion_main!(benches);
