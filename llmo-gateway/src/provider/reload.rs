//! Reading again at once what is otherwise looked at now and then.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;

use super::Desired;
use super::sources::Watched;

/// What a file says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// Replicas and routes.
    pub desired: Desired,
    /// Something else that it says has changed, and holds already.
    pub changed: bool,
    /// Settings that have changed and hold from the next start on.
    pub at_restart: Vec<String>,
}

impl From<Desired> for Reading {
    fn from(desired: Desired) -> Self {
        Self { desired, ..Self::default() }
    }
}

/// What came of reading one source again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// Did it say something else than before?
    pub changed: bool,
    /// Replicas that it names.
    pub replicas: usize,
    /// Routes that it names.
    pub routes: usize,
    /// Settings that have changed and hold from the next start on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub at_restart: Vec<String>,
}

/// The outcome for one source: `config`, `file`, `keys`, `tls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// What logs and metrics call it.
    pub provider: String,
    /// What it says now, if that could be used.
    #[serde(flatten)]
    pub reloaded: Option<Reloaded>,
    /// Why it can't; the old state stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Looks at certificates now; returns whether there are new ones.
pub type LookNow = dyn Fn() -> Result<bool, String> + Send + Sync;

/// Everything of a gateway that can be read again. Clones are the same.
#[derive(Clone, Default)]
pub struct Reloads {
    sources: Arc<Mutex<Vec<Watched>>>,
    certificates: Arc<Mutex<Option<Arc<LookNow>>>>,
}

impl Reloads {
    /// These are the sources that are watched from now on.
    pub fn watch(&self, sources: &[Watched]) {
        *self.sources.lock() = sources.to_vec();
    }

    /// This is how certificates are looked at.
    pub fn certificates(&self, look: Arc<LookNow>) {
        *self.certificates.lock() = Some(look);
    }

    /// Reads everything now. Sources don't depend on each other: those that are good hold, whatever the others say.
    pub async fn run(&self) -> Vec<Outcome> {
        let sources = self.sources.lock().clone();
        let mut outcomes = Vec::new();
        for (source, sink) in sources {
            let Some(read) = source.reload(&sink).await else { continue };
            let (reloaded, problem) = read.map_or_else(|problem| (None, Some(problem)), |done| (Some(done), None));
            outcomes.push(Outcome { provider: source.name().to_owned(), reloaded, problem });
        }
        let look = self.certificates.lock().clone();
        if let Some(look) = look {
            let looked = tokio::task::spawn_blocking(move || look()).await;
            let looked = looked.unwrap_or_else(|_| Err("looking at the certificate failed".to_owned()));
            let done = |changed| Reloaded { changed, replicas: 0, routes: 0, at_restart: Vec::new() };
            let (reloaded, problem) =
                looked.map_or_else(|why| (None, Some(why)), |changed| (Some(done(changed)), None));
            outcomes.push(Outcome { provider: "tls".to_owned(), reloaded, problem });
        }
        outcomes
    }
}
