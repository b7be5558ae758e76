//! Runs sources, and applies what they want.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{Board, Fleet, Provider, Sink};
use crate::routing::Routes;

/// First wait before a lost source is tried again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A source that could be watched for this long was not just lost again.
const WAS_WELL: Duration = Duration::from_secs(30);

/// Watches all sources and makes fleet and routes what they want together. Never returns; drop it to stop.
pub async fn run(board: Board, sources: Vec<(Arc<dyn Provider>, Sink)>, fleet: Fleet, routes: Routes) {
    let mut wanted = board.wanted();
    let mut watching = JoinSet::new();
    for (source, sink) in sources {
        watching.spawn(keep_watching(source, sink));
    }
    loop {
        let now = Arc::clone(&wanted.borrow_and_update());
        fleet.apply(&now.targets, || routes.replace(now.table.clone())).await;
        if wanted.changed().await.is_err() {
            // The board is in `board`: it can't be gone.
            std::future::pending::<()>().await;
        }
    }
}

async fn keep_watching(source: Arc<dyn Provider>, sink: Sink) {
    let mut pause = FIRST_PAUSE;
    loop {
        let begun = Instant::now();
        let Err(lost) = source.watch(&sink).await;
        sink.lost(&lost);
        if begun.elapsed() >= WAS_WELL {
            pause = FIRST_PAUSE;
        }
        tokio::time::sleep(pause.mul_f64(1.0 - 0.2 * fastrand::f64())).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
