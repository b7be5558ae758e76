//! What reading an upstream's stream costs, in bytes a second: cutting it into events, and understanding them.
// A bench that can't be set up has nothing to measure.
#![allow(clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llmo_backends::remote::response::Reader;
use llmo_backends::remote::sse::SseParser;

const EVENTS: usize = 256;
/// What one read from a socket brings, about.
const PIECE: usize = 1400;

/// A stream as a model service sends it to the gateway.
fn transcript() -> Vec<u8> {
    let event = |n| {
        format!(
            "data: {{\"id\":\"chatcmpl-0123456789\",\"object\":\"chat.completion.chunk\",\"created\":1754000000,\
             \"model\":\"smollm2-135m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word{n}\"}},\
             \"token_ids\":[{n}],\"finish_reason\":null}}]}}\n\n"
        )
    };
    (0..EVENTS).map(event).collect::<String>().into_bytes()
}

fn parsing(c: &mut Criterion) {
    let transcript = transcript();
    let mut group = c.benchmark_group("sse");
    group.throughput(Throughput::Bytes(transcript.len() as u64));
    group.bench_function("events", |b| {
        b.iter(|| {
            let mut parser = SseParser::new(1 << 20);
            let count = |piece| parser.events(piece).inspect(|event| assert!(event.is_ok(), "a good stream")).count();
            let events: usize = black_box(&transcript).chunks(PIECE).map(count).sum();
            assert_eq!(events, EVENTS);
        });
    });
    group.bench_function("events_and_deltas", |b| {
        b.iter(|| {
            let mut parser = SseParser::new(1 << 20);
            let mut reader = Reader::new("m");
            for piece in black_box(&transcript).chunks(PIECE) {
                for event in parser.events(piece) {
                    black_box(reader.read(&event.expect("a good stream")).expect("a good event"));
                }
            }
        });
    });
    group.finish();
}

criterion_group!(benches, parsing);
criterion_main!(benches);
