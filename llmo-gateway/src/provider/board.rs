//! What every source said last, and what that is together.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use super::{Desired, ProviderMetrics, SourceLost, Target, desired};
use crate::routing::RouteTable;

/// What all sources want together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wanted {
    /// The replicas.
    pub targets: Vec<Target>,
    /// The rules.
    pub table: RouteTable,
}

/// What every source said last. Clones are the same.
#[derive(Debug, Clone)]
pub struct Board {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    entries: Mutex<Vec<Entry>>,
    wanted: watch::Sender<Arc<Wanted>>,
    metrics: ProviderMetrics,
}

#[derive(Debug)]
struct Entry {
    name: String,
    desired: Desired,
    heard: bool,
    problem: Option<String>,
    changed: Option<Instant>,
}

/// A source, for the dashboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProviderLine {
    name: String,
    replicas: usize,
    routes: usize,
    /// Why its last state does not hold, or can't be had.
    problem: Option<String>,
    /// Since when its state holds.
    unchanged_seconds: Option<u64>,
}

/// Where one source publishes.
#[derive(Debug, Clone)]
pub struct Sink {
    board: Board,
    index: usize,
}

impl Board {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(metrics: ProviderMetrics) -> Self {
        let shared = Shared { entries: Mutex::default(), wanted: watch::Sender::new(Arc::default()), metrics };
        Self { shared: Arc::new(shared) }
    }

    /// A place for one more source. Where sources disagree, the one that was added first is right.
    #[must_use]
    pub fn add(&self, name: &str) -> Sink {
        let mut entries = self.shared.entries.lock();
        let entry =
            Entry { name: name.to_owned(), desired: Desired::default(), heard: false, problem: None, changed: None };
        entries.push(entry);
        Sink { board: self.clone(), index: entries.len() - 1 }
    }

    /// The counters of all sources.
    #[must_use]
    pub fn metrics(&self) -> &ProviderMetrics {
        &self.shared.metrics
    }

    /// What is wanted, now and from now on.
    #[must_use]
    pub fn wanted(&self) -> watch::Receiver<Arc<Wanted>> {
        self.shared.wanted.subscribe()
    }

    /// Has every source said something, if only that it can't?
    #[must_use]
    pub fn all_heard(&self) -> bool {
        self.shared.entries.lock().iter().all(|entry| entry.heard)
    }

    /// Every source, for the dashboard.
    #[must_use]
    pub fn lines(&self) -> Vec<ProviderLine> {
        let line = |entry: &Entry| ProviderLine {
            name: entry.name.clone(),
            replicas: entry.desired.targets.len(),
            routes: entry.desired.routes.len(),
            problem: entry.problem.clone(),
            unchanged_seconds: entry.changed.map(|at| at.elapsed().as_secs()),
        };
        self.shared.entries.lock().iter().map(line).collect()
    }

    /// `left_out`: what is wrong with a part of the source's state, which `new` is without.
    fn publish(&self, index: usize, new: Desired, left_out: Option<String>) -> Result<bool, String> {
        let mut entries = self.shared.entries.lock();
        let Some(entry) = entries.get_mut(index) else { return Ok(false) };
        entry.heard = true;
        let changed = entry.desired != new || entry.changed.is_none();
        let old = std::mem::replace(&mut entry.desired, new);
        let name = entry.name.clone();
        let table = match desired::routes(entries.iter().map(|entry| &entry.desired)) {
            Ok(table) => table,
            Err(error) => {
                entries[index].desired = old;
                drop(entries);
                self.fail(index, "refused", error.to_string());
                return Err(error.to_string());
            }
        };
        let targets = desired::targets(entries.iter().map(|entry| &entry.desired));
        let entry = &mut entries[index];
        let is_wrong = left_out.is_some();
        let was_wrong = std::mem::replace(&mut entry.problem, left_out);
        let recovered = was_wrong.is_some() && !is_wrong;
        let worsened = is_wrong && was_wrong != entry.problem;
        if changed {
            entry.changed = Some(Instant::now());
        }
        let replicas = entry.desired.targets.len();
        if !is_wrong || changed {
            self.shared.metrics.applied(&name, replicas, changed || recovered);
        }
        if worsened {
            self.shared.metrics.failed(&name, "refused");
            tracing::warn!(provider = name, problem = entry.problem, "a part of its configuration is left out");
        } else if is_wrong {
            self.shared.metrics.still_wrong(&name);
        }
        if changed || recovered {
            tracing::info!(provider = name, replicas, routes = entry.desired.routes.len(), "configuration applied");
        }
        let wanted = Wanted { targets, table };
        // Under the lock: states go out in the order in which they were made.
        self.shared.wanted.send_if_modified(|now| {
            let differs = **now != wanted;
            if differs {
                *now = Arc::new(wanted);
            }
            differs
        });
        Ok(changed)
    }

    fn fail(&self, index: usize, outcome: &'static str, problem: String) {
        let mut entries = self.shared.entries.lock();
        let Some(entry) = entries.get_mut(index) else { return };
        entry.heard = true;
        self.shared.metrics.failed(&entry.name, outcome);
        if entry.problem.as_ref() != Some(&problem) {
            let (provider, replicas) = (&entry.name, entry.desired.targets.len());
            tracing::warn!(provider, outcome, %problem, replicas, "the last good configuration of this source stays");
        }
        entry.problem = Some(problem);
    }
}

impl Sink {
    /// From now on the source wants this; returns whether that is something else than before. What is wrong with it is logged
    /// and counted, and what it wanted before stays.
    ///
    /// # Errors
    /// What is wrong.
    pub fn publish(&self, desired: Desired) -> Result<bool, String> {
        self.board.publish(self.index, desired, None)
    }

    /// The same for a state of which a part is no good, and left out.
    ///
    /// # Errors
    /// What is wrong with the rest.
    pub fn publish_partly(&self, desired: Desired, left_out: String) -> Result<bool, String> {
        self.board.publish(self.index, desired, Some(left_out))
    }

    /// The source has a new state that can't even be read. What it wanted before stays.
    pub fn refuse(&self, problem: impl Into<String>) {
        self.board.fail(self.index, "refused", problem.into());
    }

    pub(super) fn lost(&self, error: &SourceLost) {
        self.board.fail(self.index, "lost", error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use llmo_config::RouteConfig;

    use super::*;

    fn target(url: &str) -> Target {
        Target::new(url).expect("a good URL")
    }

    fn route(name: &str, to: &str) -> RouteConfig {
        toml::from_str(&format!("name = \"{name}\"\nmodel = \"{name}\"\nto = \"{to}\"")).expect("a good route")
    }

    #[test]
    fn a_bad_state_is_refused_and_the_old_one_stays() {
        let board = Board::new(ProviderMetrics::default());
        let sink = board.add("file");
        let good = Desired { targets: vec![target("http://a:1")], routes: vec![route("x", "m")] };
        sink.publish(good).expect("good");
        let before = board.wanted().borrow().clone();
        let twice = Desired { targets: Vec::new(), routes: vec![route("x", "m"), route("x", "n")] };
        let problem = sink.publish(twice).expect_err("two of one name");
        assert!(problem.contains("number 2"), "{problem}");
        assert!(Arc::ptr_eq(&before, &board.wanted().borrow()));
        assert_eq!(board.lines()[0].problem.as_deref(), Some(problem.as_str()));
    }

    #[test]
    fn a_lost_source_keeps_what_it_said_and_the_others_go_on() {
        let board = Board::new(ProviderMetrics::default());
        let (dns, docker) = (board.add("dns"), board.add("docker"));
        assert!(!board.all_heard());
        dns.publish(Desired::targets(vec![target("http://a:1")])).expect("good");
        dns.lost(&SourceLost("no answer".into()));
        docker.publish(Desired::targets(vec![target("http://b:1")])).expect("good");
        assert!(board.all_heard());
        let urls: Vec<_> = board.wanted().borrow().targets.iter().map(|target| target.url.clone()).collect();
        assert_eq!(urls, ["http://a:1", "http://b:1"]);
        assert_eq!(board.lines()[0].problem.as_deref(), Some("no answer"));
    }

    #[test]
    fn a_part_that_stays_wrong_is_told_once_and_stays_on_the_board() {
        let metrics = ProviderMetrics::default();
        let board = Board::new(metrics.clone());
        let sink = board.add("docker");
        let publish = || sink.publish_partly(Desired::targets(vec![target("http://a:1")]), "no port".to_owned());
        assert!([true, false, false].iter().all(|changed| publish() == Ok(*changed)));
        assert_eq!((metrics.reloads("docker", "applied"), metrics.reloads("docker", "refused")), (1, 1));
        assert!(!metrics.is_well("docker"));
        assert_eq!(board.lines()[0].problem.as_deref(), Some("no port"));
        sink.publish(Desired::targets(vec![target("http://a:1")])).expect("good");
        assert_eq!((metrics.reloads("docker", "applied"), board.lines()[0].problem.as_deref()), (2, None));
        assert!(metrics.is_well("docker"));
    }

    #[test]
    fn the_same_state_again_changes_nothing() {
        let board = Board::new(ProviderMetrics::default());
        let (sink, mut wanted) = (board.add("dns"), board.wanted());
        sink.publish(Desired::targets(vec![target("http://a:1")])).expect("good");
        wanted.mark_unchanged();
        sink.publish(Desired::targets(vec![target("http://a:1")])).expect("good");
        assert!(!wanted.has_changed().expect("the board is there"));
    }
}
