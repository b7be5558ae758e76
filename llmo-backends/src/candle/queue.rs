//! A bounded queue in front of one worker thread.
//!
//! ```text
//!  push ─► [waiting …] ─► take (blocks the worker) ─► done
//!    │ full: Overloaded, at once
//! ```
//!
//! Requests that nobody waits for any more leave the queue when it is full, and are skipped when their turn comes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use llmo_core::ModelError;
use parking_lot::{Condvar, Mutex};

/// What waits.
pub(super) trait Job {
    /// Tokens it will read.
    fn tokens(&self) -> u64;
    /// Nobody waits for the result any more.
    fn is_abandoned(&self) -> bool;
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
    bound: usize,
}

#[derive(Debug)]
struct State<J> {
    waiting: VecDeque<J>,
    /// When the job that runs now was taken.
    running: Option<Instant>,
    /// How long a job takes: an average in which the last one counts a quarter.
    usual: Duration,
    closed: bool,
}

/// What is in the queue at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) running: bool,
    pub(super) requests: u32,
    pub(super) tokens: u64,
}

impl<J: Job> Queue<J> {
    /// A queue for at most `bound` waiting jobs, besides the one that runs.
    pub(super) fn new(bound: usize) -> Self {
        let state = State { waiting: VecDeque::new(), running: None, usual: Duration::from_secs(1), closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), bound: bound.max(1) }
    }

    /// Puts a job behind all others.
    ///
    /// # Errors
    /// [`ModelError::Overloaded`] if the queue is full, with the time after which a place should be free.
    pub(super) fn push(&self, job: J) -> Result<(), ModelError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(ModelError::Shutdown);
        }
        if state.waiting.len() >= self.bound {
            state.waiting.retain(|job| !job.is_abandoned());
        }
        if state.waiting.len() >= self.bound {
            let reason = format!("{} requests are waiting already", state.waiting.len());
            let retry_after = state.usual.clamp(Duration::from_secs(1), Duration::from_secs(60));
            return Err(ModelError::Overloaded { reason, retry_after });
        }
        state.waiting.push_back(job);
        self.changed.notify_one();
        Ok(())
    }

    /// The next job somebody waits for; blocks until there is one. `None` once the queue is closed and empty.
    ///
    /// Asking for a job reports that the last one is done.
    pub(super) fn take(&self) -> Option<J> {
        let mut state = self.state.lock();
        if let Some(started) = state.running.take() {
            state.usual = (state.usual * 3 + started.elapsed()) / 4;
        }
        loop {
            while let Some(job) = state.waiting.pop_front() {
                if !job.is_abandoned() {
                    state.running = Some(Instant::now());
                    return Some(job);
                }
            }
            if state.closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// No more jobs come; those that wait are still done.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// What is in the queue.
    pub(super) fn waiting(&self) -> Waiting {
        let state = self.state.lock();
        let wanted = state.waiting.iter().filter(|job| !job.is_abandoned());
        let (requests, tokens) = wanted.fold((0, 0), |(n, tokens), job| (n + 1, tokens + job.tokens()));
        Waiting { running: state.running.is_some(), requests, tokens }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[derive(Debug)]
    struct Fake(u64, Arc<AtomicBool>);

    impl Job for Fake {
        fn tokens(&self) -> u64 {
            self.0
        }

        fn is_abandoned(&self) -> bool {
            self.1.load(Ordering::Relaxed)
        }
    }

    fn wanted(tokens: u64) -> Fake {
        Fake(tokens, Arc::default())
    }

    #[test]
    fn a_full_queue_refuses_at_once_and_says_when_to_come_back() {
        let queue = Queue::new(2);
        queue.push(wanted(1)).unwrap();
        queue.push(wanted(2)).unwrap();
        let Err(ModelError::Overloaded { retry_after, .. }) = queue.push(wanted(3)) else { panic!("not refused") };
        assert!(retry_after >= Duration::from_secs(1));
        assert_eq!(queue.waiting(), Waiting { running: false, requests: 2, tokens: 3 });
    }

    #[test]
    fn a_job_nobody_waits_for_gives_its_place_away_and_never_runs() {
        let queue = Queue::new(1);
        let left = wanted(1);
        let leave = Arc::clone(&left.1);
        queue.push(left).unwrap();
        leave.store(true, Ordering::Relaxed);
        assert_eq!(queue.waiting().requests, 0);
        queue.push(wanted(2)).unwrap();
        assert_eq!(queue.take().map(|job| job.0), Some(2));
        assert!(queue.waiting().running);
    }

    #[test]
    fn a_closed_queue_finishes_what_it_holds() {
        let queue = Queue::new(4);
        queue.push(wanted(1)).unwrap();
        queue.close();
        assert!(matches!(queue.push(wanted(2)), Err(ModelError::Shutdown)));
        assert!(queue.take().is_some());
        assert!(queue.take().is_none());
    }

    #[test]
    fn a_worker_that_waits_is_woken() {
        let queue: Arc<Queue<Fake>> = Arc::new(Queue::new(1));
        let worker = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.take().map(|job| job.0)
        });
        queue.push(wanted(5)).unwrap();
        assert_eq!(worker.join().unwrap(), Some(5));
    }
}
