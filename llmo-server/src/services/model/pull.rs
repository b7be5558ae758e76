//! Fetching a model because somebody asked for it over the API, step by step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use futures::stream;
use llmo_core::ModelError;
use llmo_core::model::{PullProgress, PullStream, Result};
use llmo_core::store::StoreError;
use llmo_store::ModelsError;
use llmo_store::pull::{Phase, Progress, Puller};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Steps that wait for their reader. More are dropped: they are for people, who want to see the newest.
const WAITING: usize = 64;
/// Bytes between two steps.
const STRIDE: u64 = 1 << 20;

/// Fetches `name`. The pull runs by itself, however slowly its steps are read, and ends when they are dropped.
pub(super) fn run(source: Puller, name: String) -> PullStream {
    let (steps, waiting) = mpsc::channel(WAITING);
    let work = tokio::spawn(async move {
        let progress = Arc::new(Steps { steps, model: name.clone(), told: AtomicU64::new(0) });
        source.pull(&name, progress).await.map(|_| ()).map_err(told)
    });
    let state = Some((waiting, Work(work)));
    stream::unfold(state, |state| async move {
        let (mut waiting, mut work) = state?;
        // The channel closes with the work.
        match waiting.recv().await {
            Some(step) => Some((Ok(step), Some((waiting, work)))),
            None => work.end().await.err().map(|error| (Err(error), None)),
        }
    })
    .boxed()
}

/// The running pull; dropping it ends it.
struct Work(JoinHandle<Result<()>>);

impl Work {
    async fn end(&mut self) -> Result<()> {
        (&mut self.0).await.unwrap_or_else(|error| Err(ModelError::Internal(format!("the pull failed: {error}"))))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Steps {
    steps: mpsc::Sender<PullProgress>,
    model: String,
    /// Bytes that were told last.
    told: AtomicU64,
}

impl Progress for Steps {
    fn phase(&self, phase: &Phase) {
        let status = match phase {
            Phase::Waiting { .. } => "another process is fetching it".to_owned(),
            Phase::Asking { source } => format!("asking {source}"),
            Phase::Failed { source, reason } => format!("{source} could not serve: {reason}"),
            Phase::Receiving { file, .. } => format!("receiving {file}"),
            Phase::Installing { .. } => "verifying".to_owned(),
            _ => return,
        };
        // Full: see WAITING. Closed: nobody listens, and the pull ends.
        let _ = self.steps.try_send(PullProgress::step(status));
    }

    fn bytes(&self, done: u64, total: Option<u64>) {
        let told = self.told.load(Ordering::Relaxed);
        if done < told || done - told >= STRIDE || total == Some(done) {
            self.told.store(done, Ordering::Relaxed);
            let step = PullProgress::step(format!("receiving {}", self.model)).bytes(done, total);
            let _ = self.steps.try_send(step);
        }
    }
}

/// What a caller is told.
fn told(error: ModelsError) -> ModelError {
    match error {
        ModelsError::UnknownModel { name, suggestion } => ModelError::NotFound { model: name, suggestion },
        ModelsError::Store(StoreError::NoSpace(what)) => ModelError::NoSpace { what },
        ModelsError::NoSource { .. } | ModelsError::Store(_) => ModelError::unavailable(error.to_string()),
        ModelsError::Corrupt { ref model, .. } => {
            ModelError::Corrupt { model: model.clone(), reason: error.to_string() }
        }
        ModelsError::Unpinned { .. } => ModelError::invalid("model", error.to_string()),
        other => ModelError::Internal(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_as_such_and_not_as_something_that_passes() {
        let error = told(ModelsError::Store(StoreError::NoSpace("writing model.gguf".into())));
        assert!(matches!(&error, ModelError::NoSpace { what } if what == "writing model.gguf"), "{error}");
        assert!(!error.is_retryable());
        let away = told(ModelsError::Store(StoreError::NotFound("x".into())));
        assert!(matches!(away, ModelError::Unavailable { .. }), "{away}");
    }
}
