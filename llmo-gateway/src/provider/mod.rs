//! Where replicas and routes come from, while the gateway runs.
//!
//! ```text
//!  file ───────┐
//!  DNS ────────┤ publish: all that one source knows          ┌─► Fleet ─► Pool (replicas, checks, drains)
//!  Docker ─────┼──► Sink ─► Board ── merged, or refused ─────┤
//!  Kubernetes ─┤              │                              └─► Routes
//!  registry ───┘              └─► metrics, dashboard
//! ```
//!
//! * [`Provider`]: a source that watches. It publishes whole states ([`Desired`]), never changes: what is lost on the way is
//!   made good by the next one. A source that can't be reached keeps what it said last.
//! * [`Board`]: what every source said last. What is wrong is refused, with its reason, and the old state stays.
//! * [`Fleet`]: makes the pool what is wanted. New replicas are checked before old ones go; what runs on a replica that goes
//!   is finished there.
//! * [`Reloads`]: reading at once what can be read (`POST /admin/reload`).
//! * [`mod@file`], [`dns`], [`docker`], [`kubernetes`], [`registry`]: the sources. [`sources`]: those that a configuration names.

mod board;
mod desired;
pub mod dns;
pub mod docker;
pub mod file;
mod fleet;
pub mod kubernetes;
mod metrics;
mod named;
pub mod registry;
mod reload;
mod runner;
pub mod sources;
mod target;

use std::convert::Infallible;

use async_trait::async_trait;

pub use board::{Board, ProviderLine, Sink, Wanted};
pub use desired::Desired;
pub use fleet::Fleet;
pub use metrics::ProviderMetrics;
pub use named::NamedProbe;
pub use reload::{LookNow, Outcome, Reading, Reloaded, Reloads};
pub use runner::run;
pub use target::{Target, TargetError};

/// A source of replicas and routes.
#[async_trait]
pub trait Provider: Send + Sync {
    /// What logs, metrics and the dashboard call it: `file`, `dns`, `docker`, …
    fn name(&self) -> &str;

    /// Publishes what it finds, again whenever that changes. Ends only when its source is lost; it is begun again after a
    /// while, and what it published last holds until then.
    ///
    /// # Errors
    /// [`SourceLost`].
    async fn watch(&self, sink: &Sink) -> Result<Infallible, SourceLost>;

    /// Reads it now, as if it had just changed. `None`: it is no file, but somebody who says by themselves what changes.
    async fn reload(&self, sink: &Sink) -> Option<Result<Reloaded, String>> {
        let _ = sink;
        None
    }
}

/// Why a source can't be watched any more: what was tried, what happened, and what may help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceLost(pub String);
