//! What goes wrong in a simulated model, decided while it runs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use llmo_core::ModelError;
use parking_lot::Mutex;
use tokio::sync::watch;

/// One way to fail, for one request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// Refused with this error; nothing is started.
    Refuse(ModelError),
    /// The stream ends with this error after so many tokens.
    ErrorAfter(u32, ModelError),
    /// Nothing comes after so many tokens, until the deadline or until the caller leaves.
    HangAfter(u32),
    /// The stream ends after so many tokens without a finish, as if the connection had been cut.
    EndAfter(u32),
    /// The stream panics after so many tokens.
    PanicAfter(u32),
    /// `generate` and `embed` panic.
    Panic,
    /// The first token comes so much later.
    Delay(Duration),
    /// Every token comes so much later.
    SlowTokens(Duration),
}

impl Fault {
    /// The stream fails in the middle, as an upstream does, after so many tokens.
    #[must_use]
    pub fn error_after(tokens: u32) -> Self {
        Self::ErrorAfter(tokens, ModelError::Upstream { message: "simulated fault".into(), started: tokens > 0 })
    }

    /// Refused as unavailable.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::Refuse(ModelError::unavailable("simulated fault"))
    }
}

/// The faults of one [`SimModel`](super::SimModel). Clones share them.
///
/// A request takes the first fault of the script (see [`next`](Self::next)), or the standing one (see
/// [`always`](Self::always)) when the script is empty.
#[derive(Debug, Clone)]
pub struct SimFaults {
    script: Arc<Mutex<Script>>,
    /// Why the model is down. A watch, because running streams must notice at once.
    down: watch::Sender<Option<ModelError>>,
}

#[derive(Debug, Default)]
struct Script {
    next: VecDeque<Fault>,
    always: Option<Fault>,
}

impl Default for SimFaults {
    fn default() -> Self {
        Self { script: Arc::default(), down: watch::Sender::new(None) }
    }
}

impl SimFaults {
    /// The next `requests` requests (after those already scripted) have this fault.
    pub fn next(&self, requests: usize, fault: Fault) {
        self.script.lock().next.extend(std::iter::repeat_n(fault, requests));
    }

    /// Every request has this fault from now on, unless one is scripted for it.
    pub fn always(&self, fault: Fault) {
        self.script.lock().always = Some(fault);
    }

    /// The model dies: running streams end with this error at once, and requests are refused with it.
    pub fn down(&self, error: ModelError) {
        self.down.send_replace(Some(error));
    }

    /// Everything works again.
    pub fn clear(&self) {
        *self.script.lock() = Script::default();
        self.down.send_replace(None);
    }

    pub(super) fn take(&self) -> Option<Fault> {
        let mut script = self.script.lock();
        script.next.pop_front().or_else(|| script.always.clone())
    }

    pub(super) fn check_up(&self) -> Result<(), ModelError> {
        self.down.borrow().clone().map_or(Ok(()), Err)
    }

    /// Resolves when the model dies.
    pub(super) async fn died(&self) -> ModelError {
        let mut down = self.down.subscribe();
        // The sender lives in `self`, so the wait can't fail; if it did, no death could be reported any more.
        match down.wait_for(Option::is_some).await.ok().and_then(|error| error.clone()) {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_comes_before_the_standing_fault() {
        let faults = SimFaults::default();
        assert!(faults.take().is_none());
        faults.always(Fault::Panic);
        faults.next(2, Fault::HangAfter(1));
        assert!(matches!(faults.take(), Some(Fault::HangAfter(1))));
        assert!(matches!(faults.clone().take(), Some(Fault::HangAfter(1))));
        assert!(matches!(faults.take(), Some(Fault::Panic)));
        faults.clear();
        assert!(faults.take().is_none());
    }
}
