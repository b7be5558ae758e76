//! A thread of its own for every rendering.
//!
//! Fuel bounds what a template does, with two exceptions that only a hostile one finds. A chain of values nested
//! thousands deep overflows an ordinary stack when it is dropped, which would end the process. And comparing (or joining
//! with `~`) two lists that share their parts takes exponential time in one instruction. So templates run on a stack
//! that is deep enough for all nesting that fuel can buy, and one that does not come back in time is never run again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::TemplateError;

/// Enough for the deepest nesting. Address space only: pages that are not touched cost nothing.
const STACK_BYTES: usize = 256 << 20;
/// Real templates take some tenths of a millisecond; a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a template runs, and whether it has shown itself to be hostile.
#[derive(Debug, Clone, Default)]
pub(super) struct Isolation {
    hostile: Arc<AtomicBool>,
}

impl Isolation {
    /// Runs `render` on a thread of its own and waits for it.
    pub(super) fn run(
        &self,
        render: impl FnOnce() -> Result<String, TemplateError> + Send + 'static,
    ) -> Result<String, TemplateError> {
        if self.hostile.load(Ordering::Relaxed) {
            return Err(TemplateError::Exhausted);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("llmo-template".into())
            .stack_size(STACK_BYTES)
            // If nobody waits any more, the result is of no use.
            .spawn(move || drop(sender.send(render())))
            .map_err(|error| TemplateError::Failed(format!("no thread to render it: {error}")))?;
        receiver.recv_timeout(PATIENCE).unwrap_or_else(|error| match error {
            mpsc::RecvTimeoutError::Timeout => {
                self.hostile.store(true, Ordering::Relaxed);
                Err(TemplateError::Exhausted)
            }
            mpsc::RecvTimeoutError::Disconnected => Err(TemplateError::Failed("its engine panicked".into())),
        })
    }
}
