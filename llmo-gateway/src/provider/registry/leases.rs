//! Who announced itself, and until when that holds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use llmo_config::UpstreamConfig;
use serde::{Deserialize, Serialize};

use crate::provider::{Target, TargetError};

/// Most replicas that are let in; more are a fault, or an attack.
const MOST: usize = 4_096;
/// The longest lease: whoever asks for more is forgotten after this time all the same.
const LONGEST: Duration = Duration::from_secs(3_600);

/// What a model service says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// Where gateways reach it.
    pub url: String,
    /// Models that are used there, `NAME` or `NAME=NAME-THERE`; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Its share of requests beside others.
    #[serde(default = "one")]
    pub weight: u32,
    /// For how long this holds; none: as long as the gateway thinks right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_seconds: Option<u64>,
}

fn one() -> u32 {
    1
}

impl Announcement {
    /// The replica that it describes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn target(&self) -> Result<Target, TargetError> {
        let mut upstream = UpstreamConfig::new(&*self.url);
        upstream.models.clone_from(&self.models);
        upstream.weight = self.weight;
        Target::from_config(&upstream)
    }

    /// For how long it holds: at least a second.
    #[must_use]
    pub fn lease(&self, usual: Duration) -> Duration {
        self.lease_seconds.map_or(usual, Duration::from_secs).clamp(Duration::from_secs(1), LONGEST)
    }
}

/// Replicas and the end of their leases.
#[derive(Debug, Default)]
pub struct Leases(BTreeMap<String, (Target, Instant)>);

impl Leases {
    /// Lets a replica in, or renews its lease. True if that changes what there is.
    ///
    /// # Errors
    /// If there are too many.
    pub fn renew(&mut self, target: Target, until: Instant) -> Result<bool, String> {
        if self.0.len() >= MOST && !self.0.contains_key(&target.url) {
            return Err(format!("{MOST} replicas are registered, and no more are let in"));
        }
        let before = self.0.insert(target.url.clone(), (target.clone(), until));
        Ok(before.is_none_or(|(known, _)| known != target))
    }

    /// Forgets a replica. True if it was known.
    pub fn remove(&mut self, url: &str) -> bool {
        self.0.remove(url).is_some()
    }

    /// Forgets those whose time is over. True if there were any.
    pub fn expire(&mut self, now: Instant) -> bool {
        let before = self.0.len();
        self.0.retain(|url, (_, until)| {
            let holds = *until > now;
            if !holds {
                tracing::warn!(url, "a replica did not renew its lease; it is forgotten");
            }
            holds
        });
        self.0.len() != before
    }

    /// The replicas.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        self.0.values().map(|(target, _)| target.clone()).collect()
    }

    /// The replicas, and how long each lease still lasts.
    pub fn left(&self, now: Instant) -> impl Iterator<Item = (&Target, Duration)> {
        self.0.values().map(move |(target, until)| (target, until.saturating_duration_since(now)))
    }

    /// When the next lease ends.
    #[must_use]
    pub fn next_end(&self) -> Option<Instant> {
        self.0.values().map(|(_, until)| *until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::new(url).expect("a good URL")
    }

    #[test]
    fn a_lease_holds_until_its_end_and_no_longer() {
        let (mut leases, now) = (Leases::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert!(leases.renew(target("http://a:1"), now + second).expect("room"));
        assert!(!leases.renew(target("http://a:1"), now + 3 * second).expect("room"));
        assert!(leases.renew(target("http://b:1"), now + 2 * second).expect("room"));
        assert!(!leases.expire(now + second));
        assert!(leases.expire(now + 2 * second));
        assert_eq!(leases.targets(), [target("http://a:1")]);
        assert!(leases.remove("http://a:1") && !leases.remove("http://a:1"));
    }

    #[test]
    fn there_is_an_end_to_replicas_and_to_leases() {
        let (mut leases, now) = (Leases::default(), Instant::now());
        for i in 0..MOST {
            leases.renew(target(&format!("http://a:1/{i}")), now).expect("room");
        }
        assert!(leases.renew(target("http://b:1"), now).is_err());
        assert!(leases.renew(target("http://a:1/0"), now).is_ok());
        let announcement: Announcement =
            serde_json::from_str(r#"{"url": "http://a:1", "lease_seconds": 99999999}"#).unwrap();
        assert_eq!(announcement.lease(Duration::from_secs(15)), LONGEST);
    }
}
