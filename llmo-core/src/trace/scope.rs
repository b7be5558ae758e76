//! The work that the running task is busy with.
//!
//! A future in [`scoped`] has its work at hand in [`current`] whenever it is polled, and nobody else has. Tasks that it
//! spawns have none, unless they are wrapped as well. It costs two writes to a thread's own memory a poll, where a span of
//! `tracing` costs a registry's slot.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::TraceContext;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Work>>> = const { RefCell::new(None) };
}

/// What something is done for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Identifies the request in every service it passes.
    pub request_id: Arc<str>,
    /// This service's place in the trace.
    pub trace: TraceContext,
}

impl Work {
    /// The headers by which another service knows it for the same work.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let state = self.trace.tracestate().map(|state| ("tracestate", state.to_string()));
        let id = ("x-request-id", self.request_id.to_string());
        [id, ("traceparent", self.trace.traceparent())].into_iter().chain(state)
    }
}

/// What the running task does its work for, if that is known.
#[must_use]
pub fn current() -> Option<Arc<Work>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Runs `f` as part of `work`.
pub fn enter<T>(work: Option<Arc<Work>>, f: impl FnOnce() -> T) -> T {
    let _restored = Restore(swap(work));
    f()
}

/// A future whose polls are part of `work`; with `None`, of nothing.
pub fn scoped<F: Future>(work: Option<Arc<Work>>, future: F) -> Scoped<F> {
    Scoped { future: Box::pin(future), work }
}

/// See [`scoped`].
pub struct Scoped<F> {
    future: Pin<Box<F>>,
    work: Option<Arc<Work>>,
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _restored = Restore(swap(self.work.clone()));
        self.future.as_mut().poll(cx)
    }
}

/// Puts back what was there, also when a poll panics.
struct Restore(Option<Arc<Work>>);

impl Drop for Restore {
    fn drop(&mut self) {
        swap(self.0.take());
    }
}

fn swap(work: Option<Arc<Work>>) -> Option<Arc<Work>> {
    // A thread that is ending has nothing to remember.
    CURRENT.try_with(|current| current.replace(work)).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::super::{SpanId, TraceId};
    use super::*;

    fn work(id: &str) -> Option<Arc<Work>> {
        let trace = TraceContext::root(TraceId(1), SpanId(2), true);
        Some(Arc::new(Work { request_id: id.into(), trace }))
    }

    fn id() -> Option<String> {
        current().map(|work| work.request_id.to_string())
    }

    #[tokio::test]
    async fn tasks_on_one_thread_each_have_their_own_work() {
        let task = |name: &'static str| {
            scoped(work(name), async move {
                for _ in 0..3 {
                    assert_eq!(id().as_deref(), Some(name));
                    tokio::task::yield_now().await;
                }
            })
        };
        tokio::join!(task("a"), task("b"), async { assert_eq!(id(), None) });
        assert_eq!(id(), None);
    }

    #[test]
    fn a_panic_does_not_leave_its_work_behind() {
        let caught = std::panic::catch_unwind(|| enter(work("a"), || panic!("on purpose")));
        assert!(caught.is_err());
        assert_eq!(id(), None);
    }

    #[test]
    fn scopes_nest() {
        enter(work("outer"), || {
            enter(work("inner"), || assert_eq!(id().as_deref(), Some("inner")));
            assert_eq!(id().as_deref(), Some("outer"));
        });
    }
}
