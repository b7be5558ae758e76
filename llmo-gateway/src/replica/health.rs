//! A replica's health as a pure state machine: probe results and request fates go in, "may it be used" comes out.

use std::time::Instant;

use llmo_core::model::{Load, ModelInfo};
use serde::Serialize;

use super::Outlier;

/// So many health checks in a row must time out before a replica that was up counts as down: one late answer of a busy
/// machine is no death.
const MISSES_TO_DOWN: u32 = 2;

/// Where a replica stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// Not checked yet.
    Unknown,
    /// It answers and is ready.
    Up,
    /// It answers, and says that it can't serve: it loads or drains.
    NotReady,
    /// It does not answer.
    Down,
}

impl Phase {
    /// The name that metrics, events and the dashboard use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::NotReady => "not-ready",
            Self::Down => "down",
        }
    }
}

/// A model that a replica says it serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// What it is.
    pub info: ModelInfo,
    /// How busy it is.
    pub load: Load,
}

/// What a health check found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ProbeOutcome {
    /// It serves these models.
    Ready(Vec<Reported>),
    /// It answers but can't serve.
    NotReady {
        /// Why, in its own words.
        reasons: Vec<String>,
        /// What it will serve.
        models: Vec<Reported>,
    },
    /// No answer, or none that makes sense.
    Unreachable {
        /// What happened.
        reason: String,
        /// Nobody listens there (as opposed to: no answer in time).
        gone: bool,
    },
}

/// A replica's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    phase: Phase,
    reasons: Vec<String>,
    up_since: Option<Instant>,
    came_back: bool,
    joining: bool,
    misses: u32,
    /// Its record of ejections.
    pub outlier: Outlier,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            phase: Phase::Unknown,
            reasons: vec!["not checked yet".into()],
            up_since: None,
            came_back: false,
            joining: false,
            misses: 0,
            outlier: Outlier::default(),
        }
    }
}

impl Health {
    /// Of a replica that joins while others serve: it gets its share slowly from its first check on.
    #[must_use]
    pub fn joining() -> Self {
        Self { joining: true, ..Self::default() }
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Why it can't be used; empty if it can.
    #[must_use]
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// May requests go there?
    #[must_use]
    pub fn usable(&self, now: Instant) -> bool {
        self.phase == Phase::Up && self.outlier.ejected_until(now).is_none()
    }

    /// The instant from which its share of requests grows slowly: when it came back, if it was away.
    #[must_use]
    pub fn warm_from(&self, now: Instant) -> Option<Instant> {
        let back = self.up_since.filter(|_| self.came_back);
        back.max(self.outlier.released_at(now))
    }

    /// Takes in a health check. `alive`: something came from the replica while the check ran.
    pub fn on_probe(&mut self, outcome: &ProbeOutcome, alive: bool, now: Instant) {
        match outcome {
            ProbeOutcome::Ready(_) => self.enter(Phase::Up, Vec::new(), now),
            ProbeOutcome::NotReady { reasons, .. } => self.enter(Phase::NotReady, reasons.clone(), now),
            ProbeOutcome::Unreachable { gone: false, .. } if alive => {}
            ProbeOutcome::Unreachable { reason, gone } => {
                self.misses = self.misses.saturating_add(1);
                if *gone || self.phase != Phase::Up || self.misses >= MISSES_TO_DOWN {
                    let misses = self.misses;
                    self.enter(Phase::Down, vec![reason.clone()], now);
                    self.misses = misses;
                }
            }
        }
    }

    /// Takes in that a request sent at `sent` found nobody, or lost its connection before any output.
    pub fn on_lost(&mut self, reason: &str, sent: Instant, now: Instant) {
        // An old connection's end says nothing about a process that came up after it was made.
        if self.phase != Phase::Up || self.up_since.is_none_or(|up| up <= sent) {
            self.enter(Phase::Down, vec![reason.to_owned()], now);
        }
    }

    fn enter(&mut self, phase: Phase, reasons: Vec<String>, now: Instant) {
        self.misses = 0;
        if phase == Phase::Up && self.phase != Phase::Up {
            self.came_back = self.joining || self.phase != Phase::Unknown;
            self.up_since = Some(now);
        }
        self.phase = phase;
        self.reasons = reasons;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ready() -> ProbeOutcome {
        ProbeOutcome::Ready(Vec::new())
    }

    fn late() -> ProbeOutcome {
        ProbeOutcome::Unreachable { reason: "no answer within 1 s".into(), gone: false }
    }

    fn up(now: Instant) -> Health {
        let mut health = Health::default();
        health.on_probe(&ready(), false, now);
        health
    }

    #[test]
    fn nothing_is_used_before_its_first_check() {
        assert!(!Health::default().usable(Instant::now()));
    }

    #[test]
    fn a_refused_connection_is_down_at_once() {
        let now = Instant::now();
        let mut health = up(now);
        health.on_probe(&ProbeOutcome::Unreachable { reason: "refused".into(), gone: true }, true, now);
        assert_eq!((health.phase(), health.reasons()), (Phase::Down, &["refused".to_owned()][..]));
    }

    #[test]
    fn one_late_answer_is_forgiven_and_two_are_not() {
        let now = Instant::now();
        let mut health = up(now);
        health.on_probe(&late(), false, now);
        assert!(health.usable(now));
        health.on_probe(&late(), false, now);
        assert_eq!(health.phase(), Phase::Down);
    }

    #[test]
    fn late_checks_do_not_count_while_streams_flow() {
        let now = Instant::now();
        let mut health = up(now);
        (0..10).for_each(|_| health.on_probe(&late(), true, now));
        assert!(health.usable(now));
    }

    #[test]
    fn a_lost_request_of_an_earlier_life_is_ignored() {
        let sent = Instant::now();
        let mut health = up(sent);
        health.on_lost("reset", sent, sent);
        assert_eq!(health.phase(), Phase::Down);
        let later = sent + Duration::from_secs(1);
        health.on_probe(&ready(), false, later);
        health.on_lost("reset", sent, later);
        assert!(health.usable(later));
    }

    #[test]
    fn only_what_was_away_starts_slowly() {
        let now = Instant::now();
        let mut health = up(now);
        assert_eq!(health.warm_from(now), None, "the gateway itself just started");
        health.on_lost("reset", now, now);
        health.on_probe(&ready(), false, now);
        assert_eq!(health.warm_from(now), Some(now));
    }

    #[test]
    fn what_joins_later_starts_slowly() {
        let now = Instant::now();
        let mut health = Health::joining();
        health.on_probe(&ready(), false, now);
        assert_eq!(health.warm_from(now), Some(now));
    }

    #[test]
    fn a_replica_that_says_it_is_not_ready_is_not_used() {
        let now = Instant::now();
        let mut health = up(now);
        health.on_probe(&ProbeOutcome::NotReady { reasons: vec!["draining".into()], models: vec![] }, false, now);
        assert!(!health.usable(now));
        assert_eq!(health.phase(), Phase::NotReady);
    }
}
