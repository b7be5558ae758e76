//! Sources of replicas, each against what it talks to in real life, or what speaks its protocol.

mod dns;
#[cfg(unix)]
mod docker;
mod kubernetes;
mod limits;
mod redis_server;
mod registry;

use std::time::{Duration, Instant};

use llmo_gateway::provider::{Board, Provider, ProviderMetrics};
use serde_json::Value;
use tokio::task::JoinHandle;

/// A source that is watched, and what it wants.
struct Watching {
    board: Board,
    task: JoinHandle<()>,
}

impl Watching {
    fn start(provider: impl Provider + 'static) -> Self {
        let board = Board::new(ProviderMetrics::default());
        let sink = board.add(provider.name());
        let task = tokio::spawn(async move {
            loop {
                let Err(lost) = provider.watch(&sink).await;
                sink.refuse(lost.to_string());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { board, task }
    }

    fn urls(&self) -> Vec<String> {
        self.board.wanted().borrow().targets.iter().map(|target| target.url.clone()).collect()
    }

    async fn until(&self, urls: &[&str]) {
        let begun = Instant::now();
        while self.urls() != urls {
            let (now, lines) = (self.urls(), self.problem());
            assert!(begun.elapsed() < Duration::from_secs(20), "{urls:?}: after twenty seconds {now:?}, {lines:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn problem(&self) -> Option<String> {
        let line: Value = serde_json::to_value(&self.board.lines()[0]).expect("plain data");
        line["problem"].as_str().map(str::to_owned)
    }

    async fn until_problem(&self, words: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some(problem) = self.problem().filter(|problem| problem.contains(words)) {
                return problem;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{words}: after twenty seconds {:?}", self.problem());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}
