//! The rules, compiled, and the decision that they make.

use std::sync::Arc;

use fastrand::Rng;
use http::HeaderName;
use llmo_config::RouteTarget;
use serde::{Serialize, Serializer};

use super::{Facts, Pattern};

/// One rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Route {
    /// What logs and metrics call it.
    pub name: Arc<str>,
    /// Any of these must match the model asked for; none: all do.
    pub model: Vec<Pattern>,
    /// The same for the path.
    pub path: Vec<Pattern>,
    /// The same for the tenant, which must then be named.
    pub tenant: Vec<Pattern>,
    /// All of these headers must be there and match.
    #[serde(serialize_with = "as_pairs")]
    pub headers: Vec<(HeaderName, Pattern)>,
    /// The models that answer; none: the one asked for.
    pub to: Vec<RouteTarget>,
    /// The models after that.
    pub fallback: Vec<String>,
    /// Do its names appear in lists?
    pub listed: bool,
}

/// All rules, in order. Compiled from a configuration ([`RouteTable::compile`]); the default has none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouteTable {
    pub(super) routes: Vec<Route>,
    pub(super) headers: Vec<HeaderName>,
    pub(super) looks_at_facts: bool,
}

/// A request as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The model that it names; empty: none.
    pub model: &'a str,
    /// Where it came to and who sent it, if that is known.
    pub facts: Option<&'a Facts>,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The rule.
    pub route: Arc<str>,
    /// The model, then those that are tried after it. Never empty, no name twice.
    pub chain: Vec<String>,
}

impl RouteTable {
    /// All rules.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The headers that any rule looks at.
    #[must_use]
    pub fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// Does any rule look at more than the model's name?
    #[must_use]
    pub fn looks_at_facts(&self) -> bool {
        self.looks_at_facts
    }

    /// Where this request goes; `None`: no rule matches, it goes where it says.
    ///
    /// Among the targets of the rule, one that is `usable` is drawn by weight; if none is, one of all, so that the
    /// refusal is about a model that was wanted.
    #[must_use]
    pub fn decide(&self, asked: &Asked<'_>, usable: impl Fn(&str) -> bool, rng: &mut Rng) -> Option<Decision> {
        let (route, captured) = self.routes.iter().find_map(|route| Some((route, route.captures(asked)?)))?;
        let named = |name: &str| name.replacen('*', captured, 1);
        let first = route.draw(|target| usable(&named(target)), rng).map_or_else(|| asked.model.to_owned(), named);
        let mut chain = vec![first];
        for name in route.fallback.iter().map(|name| named(name)) {
            if !chain.contains(&name) {
                chain.push(name);
            }
        }
        Some(Decision { route: Arc::clone(&route.name), chain })
    }
}

impl Route {
    /// Does the request match? Then what the first `*` of the model's pattern stands for.
    fn captures<'a>(&self, asked: &Asked<'a>) -> Option<&'a str> {
        let captured = match &self.model[..] {
            [] => "",
            patterns => patterns.iter().find_map(|pattern| pattern.captures(asked.model))?,
        };
        let facts = asked.facts;
        let any = |patterns: &[Pattern], text: Option<&str>| {
            patterns.is_empty() || text.is_some_and(|text| patterns.iter().any(|pattern| pattern.matches(text)))
        };
        let header = |(name, pattern): &(HeaderName, Pattern)| {
            let found = facts.and_then(|facts| facts.headers.iter().find(|(known, _)| known == name));
            found.is_some_and(|(_, value)| pattern.matches(value))
        };
        let all = any(&self.path, facts.map(|facts| facts.path.as_str()))
            && any(&self.tenant, facts.and_then(|facts| facts.tenant.as_deref()))
            && self.headers.iter().all(header);
        all.then_some(captured)
    }

    /// A target by chance, in proportion to the weights of those that are usable.
    fn draw(&self, usable: impl Fn(&str) -> bool, rng: &mut Rng) -> Option<&str> {
        let weighted = || self.to.iter().filter(|target| target.weight > 0);
        if let [only] = &self.to[..] {
            return Some(&only.model);
        }
        let mut among: Vec<&RouteTarget> = weighted().filter(|target| usable(&target.model)).collect();
        if among.is_empty() {
            among = weighted().collect();
        }
        let total: u64 = among.iter().map(|target| u64::from(target.weight)).sum();
        let mut left = if total == 0 { return None } else { rng.u64(0..total) };
        among.into_iter().find_map(|target| {
            let weight = u64::from(target.weight);
            if left < weight {
                return Some(target.model.as_str());
            }
            left -= weight;
            None
        })
    }

    /// The names that lead here whoever asks, and that are no patterns.
    pub(super) fn aliases(&self) -> impl Iterator<Item = &str> {
        let always = self.listed && self.path.is_empty() && self.tenant.is_empty() && self.headers.is_empty();
        let names = self.model.iter().filter(move |_| always).filter_map(Pattern::exact);
        names.filter(|name| !name.is_empty())
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn as_pairs<S: Serializer>(headers: &[(HeaderName, Pattern)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.iter().map(|(name, pattern)| (name.as_str(), pattern)))
}
