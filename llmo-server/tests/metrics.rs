//! `/metrics` and `/metrics/vllm`: what is there, and that Prometheus' own linter has nothing against it.
#![allow(missing_docs, clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use llmo_backends::sim::SimOptions;
use llmo_core::Model;
use llmo_core::model::SingleModel;
use llmo_server::frontend::FrontendOptions;
use llmo_server::http::ServeOptions;
use llmo_server::metrics::{self, Metrics, Role};
use llmo_server::services::model::LocalModels;
use serde_json::json;
use support::sim::Sim;

/// A front end that has answered, streamed and refused.
async fn used(role: Role) -> Sim {
    let metrics = Metrics::new(role);
    let options = FrontendOptions::new(&llmo_config::LimitsConfig::default(), Arc::clone(&metrics));
    let sim = Sim::with(SimOptions::named("sim"), options, ServeOptions::default()).await;
    metrics::models::observe(&metrics, Arc::new(SingleModel::new(Arc::clone(&sim.model) as Arc<dyn Model>)));
    let chat = json!([{"role": "user", "content": "hi"}]);
    sim.ask("/v1/chat/completions", json!({"messages": chat, "max_tokens": 5})).await;
    sim.events("/v1/chat/completions", json!({"messages": chat, "max_tokens": 7, "stream": true})).await;
    sim.ask("/v1/completions", json!({"prompt": "a", "n": 2, "max_tokens": 3})).await;
    sim.ask("/v1/embeddings", json!({"input": "a"})).await;
    sim.post("/v1/chat/completions", json!({"messages": []})).await;
    sim.post("/v1/chat/completions", json!({"messages": chat, "model": "nope"})).await;
    sim
}

async fn scrape(sim: &Sim, path: &str) -> String {
    sim.get(path).await.text().await.unwrap()
}

#[tokio::test]
async fn the_engine_s_work_is_told_for_each_model() {
    let sim = used(Role::ModelService).await;
    let text = scrape(&sim, "/metrics").await;
    for line in [
        "llmo_slots{model=\"sim\"}",
        "llmo_slots_free{model=\"sim\"}",
        "llmo_queue_requests{model=\"sim\"} 0",
        "llmo_running_requests{model=\"sim\"} 0",
        "llmo_kv_cache_usage_ratio{model=\"sim\"}",
        "llmo_prefix_cache_queries_total{model=\"sim\"}",
        "llmo_prefix_cache_hits_total{model=\"sim\"}",
        "llmo_prefill_tokens_total{model=\"sim\"}",
        "llmo_decode_tokens_total{model=\"sim\"}",
        "llmo_draft_tokens_total{model=\"sim\"}",
        "llmo_models_loaded 1",
        // A chat, a stream, two completions.
        "llmo_request_queue_seconds_count{model=\"sim\"} 4",
        "llmo_request_prefill_seconds_count{model=\"sim\"} 4",
        "llmo_request_decode_seconds_count{model=\"sim\"} 4",
        // One less than there are pieces: 4 + 6 + 2 + 2.
        "llmo_inter_token_seconds_count{model=\"sim\"} 14",
        "gen_ai_server_time_to_first_token_seconds_bucket{le=\"0.001\",gen_ai_operation_name=\"chat\"",
        "gen_ai_server_time_per_output_token_seconds_count{gen_ai_operation_name=\"chat\"",
        "# TYPE llmo_build_info gauge",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn vllm_s_view_has_vllm_s_names() {
    let sim = used(Role::ModelService).await;
    let text = scrape(&sim, "/metrics/vllm").await;
    for line in [
        "vllm:num_requests_running{model_name=\"sim\"} 0",
        "vllm:num_requests_waiting{model_name=\"sim\"} 0",
        "vllm:gpu_cache_usage_perc{model_name=\"sim\"}",
        "vllm:kv_cache_usage_perc{model_name=\"sim\"}",
        "vllm:prefix_cache_queries_total{model_name=\"sim\"}",
        "vllm:prefix_cache_hits_total{model_name=\"sim\"}",
        "vllm:time_to_first_token_seconds_count{model_name=\"sim\"} 3",
        "vllm:time_per_output_token_seconds_count{model_name=\"sim\"} 3",
        "vllm:e2e_request_latency_seconds_count{model_name=\"sim\"} 3",
        "vllm:request_queue_time_seconds_count{model_name=\"sim\"} 4",
        // 5, 7, and twice 3.
        "vllm:generation_tokens_total{model_name=\"sim\"} 18",
        "vllm:prompt_tokens_total{model_name=\"sim\"}",
        "vllm:request_success_total{model_name=\"sim\",finished_reason=\"length\"} 4",
        "# TYPE vllm:request_success_total counter",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(!scrape(&sim, "/metrics").await.contains("vllm:"), "promtool refuses colons");
}

#[tokio::test]
async fn who_accepts_openmetrics_gets_it() {
    let sim = used(Role::Gateway).await;
    let accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5";
    for path in ["/metrics", "/metrics/vllm"] {
        let response = sim.client.get(sim.server.url(path)).header("accept", accept).send().await.unwrap();
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
        assert!(response.text().await.unwrap().ends_with("# EOF\n"));
    }
}

/// What is wrong with a scrape by the rules of `promtool check metrics`.
fn complaints(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            if help.is_empty() || !helped.insert(name) {
                complaints.push(format!("{name}: no help, or twice"));
            }
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            if (kind == "counter") != name.ends_with("_total") || !typed.insert((name, kind)) {
                complaints.push(format!("{name} is a {kind}"));
            }
        } else {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let known = |name: &str| helped.contains(name) && typed.iter().any(|(typed, _)| *typed == name);
            if !known(name) && !family.is_some_and(known) {
                complaints.push(format!("{name} has no help or no type"));
            }
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if !name.chars().all(is_plain) {
                complaints.push(format!("{name} is no good name"));
            }
            if line.rsplit(' ').next().is_none_or(|value| value.parse::<f64>().is_err()) {
                complaints.push(format!("{line}: no number"));
            }
        }
    }
    complaints
}

/// `promtool` on the path, or where `PROMTOOL` says (Debian has it in the package `prometheus`).
fn promtool(text: &str) -> Option<Result<(), String>> {
    let program = std::env::var_os("PROMTOOL").unwrap_or_else(|| "promtool".into());
    let mut command = Command::new(program);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    child.stdin.take()?.write_all(text.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let clean = output.status.success() && said.is_empty();
    Some(if clean { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) })
}

#[tokio::test]
async fn the_linter_has_nothing_against_our_metrics() {
    for role in [Role::ModelService, Role::Gateway] {
        let text = scrape(&used(role).await, "/metrics").await;
        assert_eq!(complaints(&text), [""; 0], "{text}");
        match promtool(&text) {
            Some(result) => assert_eq!(result, Ok(()), "{text}"),
            None => println!("promtool is not installed: only our own rules were checked"),
        }
    }
}

#[tokio::test]
async fn a_load_that_fails_is_told_by_its_model_s_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = llmo_config::Config::default();
    config.store.dir = dir.path().to_owned();
    config.model.names.clear();
    config.model.path = Some(dir.path().join("broken.gguf"));
    std::fs::write(dir.path().join("broken.gguf"), "no model").unwrap();
    let models = LocalModels::start(&config).await.unwrap();
    let metrics = Metrics::new(Role::ModelService);
    models.register(&metrics);
    let told = async {
        loop {
            let text = metrics.encode().await;
            if text.contains("llmo_model_load_failures_total 1") {
                return text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let text = tokio::time::timeout(support::PATIENCE, told).await.unwrap();
    assert!(text.contains("llmo_model_load_failed{model=\"broken\"} 1"), "{text}");
}

#[tokio::test]
async fn a_process_tells_what_it_takes() {
    let text = Metrics::new(Role::Gateway).encode().await;
    for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"] {
        let value = text.lines().find_map(|line| line.strip_prefix(name)).and_then(|v| v.trim().parse::<f64>().ok());
        assert!(value.is_some_and(|value| value >= 0.0), "{name} is not in {text}");
    }
}
