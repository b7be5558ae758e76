//! What sources want, and what that is together.

use llmo_config::{RouteConfig, UpstreamConfig};

use super::{Target, TargetError};
use crate::routing::{RouteError, RouteTable};

/// All that one source wants.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Desired {
    /// Replicas.
    pub targets: Vec<Target>,
    /// Routes, in order.
    pub routes: Vec<RouteConfig>,
}

impl Desired {
    /// These replicas, and no routes.
    #[must_use]
    pub fn targets(targets: Vec<Target>) -> Self {
        Self { targets, routes: Vec::new() }
    }

    /// What is configured.
    ///
    /// # Errors
    /// The first upstream that can't be used, or that comes twice.
    pub fn from_config(upstreams: &[UpstreamConfig], routes: &[RouteConfig]) -> Result<Self, TargetError> {
        let mut targets: Vec<Target> = Vec::new();
        for upstream in upstreams {
            let target = Target::from_config(upstream)?;
            if targets.iter().any(|known| known.url == target.url) {
                return Err(TargetError::twice(&target.url));
            }
            targets.push(target);
        }
        Ok(Self { targets, routes: routes.to_vec() })
    }
}

/// The replicas of all sources. Where several name the same address, the first says how it is used.
pub(super) fn targets<'a>(all: impl Iterator<Item = &'a Desired>) -> Vec<Target> {
    let mut merged: Vec<Target> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for target in all.flat_map(|desired| &desired.targets) {
        if seen.insert(target.url.as_str()) {
            merged.push(target.clone());
        }
    }
    merged
}

/// The routes of all sources, one after the other.
pub(super) fn routes<'a>(all: impl Iterator<Item = &'a Desired>) -> Result<RouteTable, RouteError> {
    RouteTable::compile(&all.flat_map(|desired| desired.routes.clone()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_several_sources_know_is_one_replica() {
        let mut heavy = UpstreamConfig::new("http://a:1");
        heavy.weight = 5;
        let first = Desired::from_config(&[heavy], &[]).unwrap();
        let second = Desired::from_config(&["http://b:1", "http://a:1/v1"].map(UpstreamConfig::new), &[]).unwrap();
        let merged = targets([&first, &second].into_iter());
        let seen: Vec<_> = merged.iter().map(|target| (target.url.as_str(), target.weight)).collect();
        assert_eq!(seen, [("http://a:1", 5), ("http://b:1", 1)]);
    }

    #[test]
    fn one_source_may_not_name_an_address_twice() {
        let error = Desired::from_config(&["http://a:1", "http://a:1/"].map(UpstreamConfig::new), &[]).unwrap_err();
        assert!(error.to_string().contains("twice"));
    }
}
