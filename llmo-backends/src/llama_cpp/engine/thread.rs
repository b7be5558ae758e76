//! The engine's thread: starts it, survives panics in it, ends it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use llmo_core::ModelError;

use super::mailbox::Mailbox;
use super::scheduler::Engine;
use crate::llama_cpp::forward::Forward;

/// With this many panics within [`PANIC_WINDOW`] the engine gives up: the next request would meet the same fault.
const PANICS_TO_GIVE_UP: usize = 5;
const PANIC_WINDOW: Duration = Duration::from_secs(60);

/// A running engine. Dropping it refuses what waits, lets running streams end, and frees the model after them.
pub(in super::super) struct EngineThread {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

impl EngineThread {
    /// Starts a thread that runs `body`, which ends in [`serve`]. Whatever ends the thread, nobody waits for it in vain.
    pub(in super::super) fn spawn(
        mailbox: Arc<Mailbox>,
        body: impl FnOnce(&Arc<Mailbox>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let thread = thread::Builder::new().name("llmo-engine".into()).spawn({
            let mailbox = Arc::clone(&mailbox);
            move || {
                mailbox.attach(thread::current());
                let _closes = CloseOnExit(&mailbox);
                body(&mailbox);
            }
        })?;
        Ok(Self { mailbox, thread: Some(thread) })
    }
}

impl Drop for EngineThread {
    fn drop(&mut self) {
        self.mailbox.close(&ModelError::Shutdown);
        // An idle engine ends at once, and its memory is free when this returns. A busy one is left to its streams.
        if self.mailbox.load().in_flight() == 0
            && let Some(thread) = self.thread.take()
        {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

struct CloseOnExit<'a>(&'a Mailbox);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        self.0.close(&ModelError::Internal("the engine has stopped; load the model again".into()));
    }
}

/// Runs the engine until it is told to end. A panic ends the streams that were running with an error, not the engine.
pub(in super::super) fn serve<F: Forward>(engine: &mut Engine<F>) {
    let mut panics: Vec<Instant> = Vec::new();
    // Whatever state a panic leaves behind, `recover` throws away.
    while let Err(panic) = catch_unwind(AssertUnwindSafe(|| engine.work())) {
        let reason = format!("the engine panicked: {}", message(&*panic));
        tracing::error!(reason, "the engine's streams end");
        engine.recover(&reason);
        panics.retain(|at| at.elapsed() < PANIC_WINDOW);
        panics.push(Instant::now());
        if panics.len() >= PANICS_TO_GIVE_UP {
            tracing::error!("the engine panicked {PANICS_TO_GIVE_UP} times within a minute and stops");
            return;
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
