//! What a process of its own costs an engine: throughput, time between tokens and processor time, as ratios to the same
//! engine in this process. Rounds alternate, so that a slow minute hits both alike; medians are compared.
//!
//! With the simulator, which takes no time, all time is the way of a token. With real weights (`LLMO_TEST_MODELS`, or
//! `models/`) it is what users would notice.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use llmo_backends::sim::SimOptions;
use llmo_config::ModelConfig;
use llmo_core::{Event, GenerateRequest, Model, ModelError};
use llmo_server::services::model::child::{ChildModel, ChildOptions, Spec, engine};

const ROUNDS: usize = 7;

fn main() -> ExitCode {
    // This very program is started again as the engine's process.
    if std::env::args().nth(1).as_deref() == Some("engine") {
        return engine::run();
    }
    // `cargo test --benches` only asks whether it runs.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let measured = runtime.map_err(|e| ModelError::Internal(e.to_string())).and_then(|r| r.block_on(run(is_measured)));
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(is_measured: bool) -> Result<(), ModelError> {
    let mut sim = SimOptions::named("sim");
    (sim.slots, sim.answer_tokens) = (32, u32::MAX);
    let sim = Spec::Sim(sim);
    if !is_measured {
        return compare("simulator", &sim, 2, 50, 1).await;
    }
    compare("simulator", &sim, 1, 20_000, ROUNDS).await?;
    compare("simulator", &sim, 32, 2_000, ROUNDS).await?;
    let directory = std::env::var_os("LLMO_TEST_MODELS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../models")), PathBuf::from);
    let weights = directory.join("smollm2-135m/model.gguf");
    if !weights.is_file() {
        println!("no weights at {}: the real engine is not measured; set LLMO_TEST_MODELS", weights.display());
        return Ok(());
    }
    let config = ModelConfig { slots: 32, context_length: 1024, ..ModelConfig::default() };
    let real = Spec::gguf(weights, "smollm2-135m", None, &config);
    compare("SmolLM2", &real, 1, 96, ROUNDS).await?;
    compare("SmolLM2", &real, 32, 64, ROUNDS).await
}

/// Measures a model here and in a process of its own.
async fn compare(name: &str, spec: &Spec, streams: usize, tokens: u32, rounds: usize) -> Result<(), ModelError> {
    let here = {
        let spec = spec.clone();
        tokio::task::spawn_blocking(move || spec.load()).await.map_err(|e| ModelError::Internal(e.to_string()))??
    };
    let there: Arc<dyn Model> = Arc::new(ChildModel::load(spec.clone(), ChildOptions::default()).await?);
    let (mut of_here, mut of_there) = (Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=rounds {
        for (model, rows) in [(&here, &mut of_here), (&there, &mut of_there)] {
            let row = measure(&**model, streams, tokens, round).await?;
            if round > 0 {
                rows.push(row);
            }
        }
    }
    let row = |rows: &[Row], of: fn(&Row) -> f64| median(rows.iter().map(of).collect());
    type Figure = (&'static str, fn(&Row) -> f64);
    let figures: [Figure; 3] = [
        ("tokens/s", |row| row.tokens_per_second),
        ("gap p50 µs", |row| row.gap_us),
        ("CPU µs/token", |row| row.cpu_us_per_token),
    ];
    for (figure, of) in figures {
        let (here, there) = (row(&of_here, of), row(&of_there, of));
        println!(
            "{name:>10} {streams:>3} streams  {figure:<13} here {here:>10.1}  there {there:>10.1}  ratio {:.3}",
            there / here
        );
    }
    Ok(())
}

struct Row {
    tokens_per_second: f64,
    gap_us: f64,
    cpu_us_per_token: f64,
}

async fn measure(model: &dyn Model, streams: usize, tokens: u32, round: usize) -> Result<Row, ModelError> {
    let processes: Vec<u32> =
        [Some(std::process::id()), model.process().and_then(|p| p.id)].into_iter().flatten().collect();
    let (cpu, started) = (cpu_time(&processes), Instant::now());
    let running = (0..streams).map(|n| stream(model, format!("Story {n} of day {round}: once upon a time"), tokens));
    let mut gaps = Vec::new();
    let mut count = 0;
    for stream in join_all(running).await {
        let (of_stream, tokens) = stream?;
        gaps.extend(of_stream);
        count += tokens;
    }
    let took = started.elapsed();
    let cpu = cpu_time(&processes).saturating_sub(cpu);
    Ok(Row {
        tokens_per_second: count as f64 / took.as_secs_f64(),
        gap_us: median(gaps),
        cpu_us_per_token: cpu.as_secs_f64() * 1e6 / count as f64,
    })
}

/// The times between a stream's tokens in µs, and their number.
async fn stream(model: &dyn Model, prompt: String, tokens: u32) -> Result<(Vec<f64>, usize), ModelError> {
    let mut request = GenerateRequest::complete(prompt).max_tokens(tokens);
    // No end of text before `tokens`; harmless to the simulator.
    request.sampling.logit_bias = vec![(0, -100.0), (2, -100.0)];
    let mut stream = model.generate(request).await?;
    let (mut gaps, mut count, mut last) = (Vec::new(), 0, None);
    while let Some(event) = stream.next().await {
        if let Event::Delta(delta) = event? {
            count += delta.tokens.len();
            let now = Instant::now();
            if let Some(last) = last.replace(now) {
                gaps.push((now - last).as_secs_f64() * 1e6);
            }
        }
    }
    Ok((gaps, count))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Processor time that these processes have used, in the kernel's hundredths of a second.
fn cpu_time(processes: &[u32]) -> Duration {
    let ticks = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // After the name, which may hold anything.
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').map(str::to_owned).collect();
        let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        number(11) + number(12)
    };
    Duration::from_millis(processes.iter().map(ticks).sum::<u64>() * 10)
}
