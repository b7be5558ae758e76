//! The way to the file: bounded, and patient only as long as the file can be written.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot};

use super::Entry;
use super::writer::LineFile;

/// Most lines that wait to be written; one more is dropped.
const QUEUE: usize = 8192;
/// Most lines that are written at once.
const BATCH: usize = 1024;
/// How long the end of an answer waits for its line. After that no answer waits until the file can be written again.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the end of the process waits for the last lines.
const FAREWELL: Duration = Duration::from_secs(2);

/// Lines that were written, and that were not.
#[derive(Debug, Clone, Default)]
pub struct LedgerMetrics {
    written: Counter,
    dropped: Counter,
}

/// Where entries go. Clones are the same ledger.
#[derive(Debug, Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    lines: mpsc::Sender<Line>,
    /// Nothing has been written within the patience of somebody.
    stalled: Arc<AtomicBool>,
    metrics: LedgerMetrics,
    /// What no other process's lines begin with, and how many lines there were.
    prefix: u64,
    count: AtomicU64,
}

#[derive(Debug)]
struct Line {
    text: Vec<u8>,
    /// Told when the line is the operating system's; dropped if that could not be.
    written: Option<oneshot::Sender<()>>,
}

/// A line on its way.
#[derive(Debug)]
pub struct Pending {
    written: oneshot::Receiver<()>,
    stalled: Arc<AtomicBool>,
}

impl LedgerMetrics {
    /// Makes them appear in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("llmo_usage_written", "Lines of the usage ledger", self.written.clone());
        let help = "Requests whose usage could not be written, or would have waited too long for it";
        registry.register("llmo_usage_dropped", help, self.dropped.clone());
    }

    /// Lines that could not be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }
}

impl Ledger {
    /// Opens the file and starts its thread, which ends with the last clone.
    ///
    /// # Errors
    /// If the file can't be opened, or another process writes it.
    pub fn open(path: &Path, most_bytes: u64) -> io::Result<Self> {
        let file = LineFile::open(path, most_bytes)?;
        let (lines, waiting) = mpsc::channel(QUEUE);
        let (stalled, metrics) = (Arc::new(AtomicBool::new(false)), LedgerMetrics::default());
        let worker = Worker { file, stalled: Arc::clone(&stalled), metrics: metrics.clone(), broken: false };
        std::thread::Builder::new().name("usage".to_owned()).spawn(move || worker.run(waiting))?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let prefix = u64::try_from(since.as_millis()).unwrap_or_default() << 20 | fastrand::u64(..1 << 20);
        let shared = Shared { lines, stalled, metrics, prefix, count: AtomicU64::new(0) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Counters.
    #[must_use]
    pub fn metrics(&self) -> &LedgerMetrics {
        &self.shared.metrics
    }

    /// Queues an entry; id and time are put in here. `None`: there is nothing to wait for.
    #[must_use]
    pub fn record(&self, mut entry: Entry) -> Option<Pending> {
        let shared = &*self.shared;
        entry.id = format!("{:x}-{:x}", shared.prefix, shared.count.fetch_add(1, Ordering::Relaxed));
        entry.time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let Ok(mut text) = serde_json::to_vec(&entry) else {
            shared.metrics.dropped.inc();
            return None;
        };
        text.push(b'\n');
        self.send(text)
    }

    fn send(&self, text: Vec<u8>) -> Option<Pending> {
        let shared = &*self.shared;
        let (tell, written) = oneshot::channel();
        let counted = u64::from(!text.is_empty());
        if shared.lines.try_send(Line { text, written: Some(tell) }).is_err() {
            shared.metrics.dropped.inc_by(counted);
            return None;
        }
        let stalled = Arc::clone(&shared.stalled);
        (!stalled.load(Ordering::Relaxed)).then_some(Pending { written, stalled })
    }

    /// Waits until everything so far is written, but not for long.
    pub async fn flush(&self) {
        // Nothing, behind all that is.
        if let Some(pending) = self.send(Vec::new()) {
            let _ = tokio::time::timeout(FAREWELL, pending.written).await;
        }
    }
}

impl Pending {
    /// Waits until the line is written, or it is clear that it won't be soon.
    pub async fn wait(self) {
        if tokio::time::timeout(PATIENCE, self.written).await.is_err() && !self.stalled.swap(true, Ordering::Relaxed) {
            tracing::warn!("the usage file takes no lines; answers don't wait for theirs until it does");
        }
    }
}

/// The thread of the file.
struct Worker {
    file: LineFile,
    stalled: Arc<AtomicBool>,
    metrics: LedgerMetrics,
    /// The last batch could not be written: said once, until one can.
    broken: bool,
}

impl Worker {
    fn run(mut self, mut waiting: mpsc::Receiver<Line>) {
        let (mut batch, mut text) = (Vec::with_capacity(BATCH), Vec::new());
        while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
            text.clear();
            batch.iter().for_each(|line: &Line| text.extend_from_slice(&line.text));
            let lines = batch.iter().filter(|line| !line.text.is_empty()).count() as u64;
            if text.is_empty() || self.write(&text, lines) {
                batch.drain(..).filter_map(|line| line.written).for_each(|tell| {
                    // Who waited may have gone.
                    let _ = tell.send(());
                });
            }
            batch.clear();
        }
        if let Err(error) = self.file.sync() {
            tracing::debug!(%error, "the usage file could not be synchronised");
        }
    }

    fn write(&mut self, text: &[u8], lines: u64) -> bool {
        let written = self.file.append(text);
        // It answered, if only with an error: nobody waits for long.
        self.stalled.store(false, Ordering::Relaxed);
        match written {
            Ok(()) => {
                self.metrics.written.inc_by(lines);
                if std::mem::take(&mut self.broken) {
                    tracing::info!(dropped = self.metrics.dropped(), "the usage file can be written again");
                }
                true
            }
            Err(error) => {
                self.metrics.dropped.inc_by(lines);
                if !std::mem::replace(&mut self.broken, true) {
                    tracing::warn!(%error, "usage can't be written and is dropped (llmo_usage_dropped_total); make room");
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_waited_for_is_in_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("usage.jsonl");
        let ledger = Ledger::open(&path, 1 << 20).expect("it opens");
        for n in 1..=100 {
            ledger.record(Entry::default()).expect("it can be written").wait().await;
            assert_eq!(std::fs::read_to_string(&path).expect("there").lines().count(), n);
        }
        assert_eq!((ledger.metrics().written.get(), ledger.metrics().dropped()), (100, 0));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_full_disk_holds_nobody_up_and_is_counted() {
        let ledger = Ledger::open(Path::new("/dev/full"), 1 << 20).expect("it opens");
        let begun = std::time::Instant::now();
        for _ in 0..10 {
            if let Some(pending) = ledger.record(Entry::default()) {
                pending.wait().await;
            }
        }
        ledger.flush().await;
        assert_eq!((ledger.metrics().written.get(), ledger.metrics().dropped()), (0, 10));
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    }
}
