//! Log lines on their way to standard error: written by a thread of their own, many at once.
//!
//! Whoever logs never waits. If standard error hangs (a pipe that nobody reads), up to [`MAX_LINES`] wait; the rest is
//! counted and left out.

use std::io::{self, Write, stderr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Most lines that wait.
const MAX_LINES: usize = 8192;
/// Most bytes that are written at once.
const BATCH: usize = 64 << 10;
/// Time for more lines to come, so that not each wakes the thread that writes them: that costs more than to make one.
const GATHER: Duration = Duration::from_millis(2);
/// Longest wait for the last lines at the end of a process.
const FAREWELL: Duration = Duration::from_secs(2);

static SENDER: OnceLock<SyncSender<Piece>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

enum Piece {
    Line(Vec<u8>),
    /// Everything before it is written: tell this one.
    Flush(SyncSender<()>),
}

/// Log lines that were left out because nobody took those before them.
#[must_use]
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// The way to standard error. Its thread is started by the first call.
pub(super) fn open() -> Sink {
    Sink(SENDER.get_or_init(|| start(stderr())).clone())
}

/// Waits a moment until everything said so far is written.
pub(super) fn flush() {
    let Some(sender) = SENDER.get() else { return };
    let (told, done) = sync_channel(1);
    if sender.try_send(Piece::Flush(told)).is_ok() {
        // If it takes longer nobody reads.
        let _ = done.recv_timeout(FAREWELL);
    }
}

fn start(out: impl Write + Send + 'static) -> SyncSender<Piece> {
    let (sender, pieces) = sync_channel(MAX_LINES);
    let spawned = std::thread::Builder::new().name("log".into()).spawn(move || write(&pieces, out));
    if let Err(error) = spawned {
        // Without the thread every line is counted as dropped; this one is for whoever watches.
        eprintln!("error: cannot start the thread that writes the log: {error}");
    }
    sender
}

fn write(pieces: &Receiver<Piece>, mut out: impl Write) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Ok(first) = pieces.recv() {
        if matches!(first, Piece::Line(_)) {
            std::thread::sleep(GATHER);
        }
        let mut next = Ok(first);
        let mut waiting = Vec::new();
        while let Ok(piece) = next {
            match piece {
                Piece::Line(line) => batch.extend_from_slice(&line),
                Piece::Flush(told) => waiting.push(told),
            }
            next = if batch.len() < BATCH { pieces.try_recv() } else { Err(TryRecvError::Empty) };
        }
        // A log that can't be written can't be complained about either.
        let _ = out.write_all(&batch).and_then(|()| out.flush());
        batch.clear();
        for told in waiting {
            let _ = told.try_send(());
        }
    }
}

/// Makes a writer for each line.
pub(super) struct Sink(SyncSender<Piece>);

/// A line being made; sent when it is dropped.
pub(super) struct Line<'a> {
    sender: &'a SyncSender<Piece>,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { sender: &self.0, bytes: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = Piece::Line(std::mem::take(&mut self.bytes));
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.sender.try_send(line) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::{Condvar, Mutex};

    use super::*;

    /// Takes nothing until it is let go.
    #[derive(Clone, Default)]
    struct Hung(Arc<(State, Condvar)>);
    /// Was it let go, and what it took.
    type State = Mutex<(bool, Vec<u8>)>;

    impl Write for Hung {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.0.lock();
            while !state.0 {
                self.0.1.wait(&mut state);
            }
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_hung_log_costs_lines_and_not_time() {
        let out = Hung::default();
        let sink = Sink(start(out.clone()));
        let before = dropped_lines();
        for i in 0..3 * MAX_LINES {
            writeln!(sink.make_writer(), "line {i}").unwrap();
        }
        assert!(dropped_lines() - before >= MAX_LINES as u64);
        out.0.0.lock().0 = true;
        out.0.1.notify_all();
        let (told, done) = sync_channel(1);
        sink.0.send(Piece::Flush(told)).unwrap();
        done.recv().unwrap();
        let text = String::from_utf8(out.0.0.lock().1.clone()).unwrap();
        assert!(text.starts_with("line 0\nline 1\n"), "{}", &text[..40]);
    }
}
