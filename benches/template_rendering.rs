//! What a chat template costs a request: rendering short and long conversations, and compiling, once a model.
// A bench that can't be set up has nothing to measure.
#![allow(clippy::expect_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use llmo_core::model::Message;
use llmo_core::text::ChatTemplate;

const TEMPLATES: [(&str, &str); 2] = [
    ("smollm2", include_str!("../llmo-core/tests/templates/smollm2.jinja")),
    ("llama3.2", include_str!("../llmo-core/tests/templates/llama3.2.jinja")),
];

/// So many turns of 200 bytes each.
fn conversation(turns: usize) -> Vec<Message> {
    let text = "All work and no play. ".repeat(10);
    let turn = |i: usize| if i.is_multiple_of(2) { Message::user(&text) } else { Message::assistant(&text) };
    (0..turns).map(turn).collect()
}

fn rendering(c: &mut Criterion) {
    let mut group = c.benchmark_group("template/render");
    for (name, source) in TEMPLATES {
        let template = ChatTemplate::compile(source, "<s>", "</s>").expect("a good template");
        for turns in [1, 21] {
            let messages = conversation(turns);
            group.bench_with_input(BenchmarkId::new(name, turns), &messages, |b, messages| {
                b.iter(|| template.render(black_box(messages), true).expect("a good conversation"));
            });
        }
    }
    group.finish();
}

fn compiling(c: &mut Criterion) {
    let mut group = c.benchmark_group("template/compile");
    for (name, source) in TEMPLATES {
        group.bench_with_input(BenchmarkId::from_parameter(name), source, |b, source| {
            b.iter(|| ChatTemplate::compile(black_box(source), "<s>", "</s>").expect("a good template"));
        });
    }
    group.finish();
}

criterion_group!(benches, rendering, compiling);
criterion_main!(benches);
