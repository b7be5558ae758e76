//! `kill -9` of a gateway under load: every answer that a caller has whole is in the ledger, once.
#![cfg(unix)]
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

#[allow(dead_code)]
#[path = "gateway/service.rs"]
mod service;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use llmo_backends::sim::SimOptions;
use llmo_gateway::usage::Entry;
use parking_lot::Mutex;
use reqwest::Client;
use serde_json::json;

use crate::service::Service;

/// A gateway as a process of its own.
struct Gateway(Child);

impl Gateway {
    fn start(port: u16, upstream: &str, ledger: &Path) -> Self {
        let settings = [
            format!("gateway.port={port}"),
            "gateway.dashboard_port=0".to_owned(),
            format!("gateway.upstreams={upstream}"),
            format!("gateway.usage_file={}", ledger.display()),
        ];
        let mut command = Command::new(env!("CARGO_BIN_EXE_llmo-gateway"));
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        // Nobody's own configuration, and no files of the working directory.
        command.env_clear().current_dir(ledger.parent().expect("a directory"));
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"))
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it is gone");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

async fn until_ready(client: &Client, url: &str) {
    let begun = Instant::now();
    while client.get(format!("{url}/readyz")).send().await.map_or(0, |answer| answer.status().as_u16()) != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "ready within twenty seconds");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Asks once; returns the id of the request if its answer came whole.
async fn ask(client: &Client, url: &str, id: String, dialect: u64) -> Option<String> {
    let messages = json!([{"role": "user", "content": id}]);
    let (path, body, end) = match dialect % 4 {
        0 => ("/v1/completions", json!({"prompt": id, "max_tokens": 3, "stream": true}), "data: [DONE]\n\n"),
        1 => ("/v1/completions", json!({"prompt": id, "max_tokens": 3, "n": 2}), "}"),
        2 => ("/v1/messages", json!({"messages": messages, "max_tokens": 3, "stream": true}), "message_stop\"}\n\n"),
        _ => ("/api/chat", json!({"messages": messages, "options": {"num_predict": 3}}), "}\n"),
    };
    let request = client.post(format!("{url}{path}")).header("x-request-id", &id).json(&body);
    let mut answer = request.send().await.ok()?;
    if answer.status() != 200 {
        return None;
    }
    let mut text = Vec::new();
    // What a caller has read counts, even if the connection breaks behind it.
    while let Ok(Some(piece)) = answer.chunk().await {
        text.extend_from_slice(&piece);
    }
    let text = String::from_utf8(text).ok()?;
    let whole = match dialect % 4 {
        1 => serde_json::from_str::<serde_json::Value>(&text).is_ok(),
        3 => text.contains("\"done\":true") && text.ends_with(end),
        _ => text.ends_with(end),
    };
    whole.then_some(id)
}

fn lines(ledger: &Path) -> HashMap<String, Vec<Entry>> {
    let text = std::fs::read_to_string(ledger).expect("a ledger");
    let mut lines: HashMap<_, Vec<Entry>> = HashMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let entry: Entry = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        lines.entry(entry.request_id.clone().expect("each had one")).or_default().push(entry);
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_has_lost_and_doubled_no_usage_of_a_whole_answer() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = dir.path().join("usage.jsonl");
    let mut sim = SimOptions::named("sim");
    (sim.slots, sim.decode_tokens_per_second) = (64, 2_000.0);
    let service = Service::start(sim).await;
    let client = Client::builder().no_proxy().build().expect("a client");
    let (whole, asked) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
    for round in 0..5 {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let mut gateway = Gateway::start(port, &service.url(), &ledger);
        until_ready(&client, &url).await;
        let before = whole.lock().len();
        let load: Vec<_> = (0..16)
            .map(|_| {
                let (client, url) = (client.clone(), url.clone());
                let (whole, asked) = (Arc::clone(&whole), Arc::clone(&asked));
                tokio::spawn(async move {
                    loop {
                        let n = asked.fetch_add(1, Ordering::Relaxed);
                        if let Some(id) = ask(&client, &url, format!("r-{n}"), n).await {
                            whole.lock().push(id);
                        }
                    }
                })
            })
            .collect();
        let begun = Instant::now();
        while whole.lock().len() < before + 200 {
            assert!(begun.elapsed() < Duration::from_secs(60), "round {round}: {} answers", whole.lock().len());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        gateway.kill();
        // What they still have in their sockets is theirs.
        tokio::time::sleep(Duration::from_millis(200)).await;
        load.iter().for_each(tokio::task::JoinHandle::abort);
    }
    let (whole, lines) = (whole.lock().clone(), lines(&ledger));
    assert!(whole.len() >= 1_000, "{}", whole.len());
    for id in &whole {
        let found = lines.get(id).map_or(&[][..], Vec::as_slice);
        assert_eq!(found.len(), 1, "{id}: {found:?}");
        assert!(found[0].completion_tokens >= 3 && found[0].ended == "length", "{found:?}");
    }
    let mut ids: Vec<_> = lines.values().flatten().map(|entry| &entry.id).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "no line comes twice");
    println!("{} whole answers, {all} lines, 5 kills", whole.len());
}
