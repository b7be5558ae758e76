//! From configured routes to a table, or to what is wrong with them.

use std::collections::HashSet;

use http::HeaderName;
use llmo_config::RouteConfig;

use super::{Pattern, Route, RouteTable};

/// More rules than anybody can read are a mistake of whatever wrote them.
const MOST_ROUTES: usize = 4_096;
/// Longest pattern or name, in bytes.
const LONGEST_NAME: usize = 512;

/// What is wrong with a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("routes, number {number}{}: {problem}", name.as_ref().map_or_else(String::new, |name| format!(" ({name:?})")))]
pub struct RouteError {
    /// Its place, from 1.
    pub number: usize,
    /// What it is called.
    pub name: Option<String>,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl RouteTable {
    /// Compiles routes, in their order.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn compile(configs: &[RouteConfig]) -> Result<Self, RouteError> {
        let mut table = Self::default();
        let mut names = HashSet::new();
        if configs.len() > MOST_ROUTES {
            let problem = format!("there are {} routes, and {MOST_ROUTES} are the most: use patterns", configs.len());
            return Err(RouteError { number: configs.len(), name: None, problem });
        }
        for (index, config) in configs.iter().enumerate() {
            let wrong = |problem: String| RouteError {
                number: index + 1,
                name: Some(config.name.clone()).filter(|name| !name.is_empty()),
                problem,
            };
            if let Some(all) = table.routes.iter().position(takes_all) {
                let problem =
                    format!("it is never reached: number {} matches every request; move that to the end", all + 1);
                return Err(wrong(problem));
            }
            let route = route(config, index + 1).map_err(wrong)?;
            if !names.insert(route.name.clone()) {
                return Err(wrong(format!("another route has the name {:?}; give each its own", route.name)));
            }
            table.routes.push(route);
        }
        let facts = |route: &Route| !(route.path.is_empty() && route.tenant.is_empty() && route.headers.is_empty());
        table.looks_at_facts = table.routes.iter().any(facts);
        table.headers = table.routes.iter().flat_map(|route| &route.headers).map(|(name, _)| name.clone()).collect();
        table.headers.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        table.headers.dedup();
        Ok(table)
    }
}

fn takes_all(route: &Route) -> bool {
    let every = Pattern::new("*");
    (route.model.is_empty() || route.model.contains(&every))
        && route.path.is_empty()
        && route.tenant.is_empty()
        && route.headers.is_empty()
}

fn route(config: &RouteConfig, number: usize) -> Result<Route, String> {
    let targets = config.to.iter().map(|target| &target.model).chain(&config.fallback);
    let names =
        targets.clone().chain(&config.model).chain(&config.path).chain(&config.tenant).chain(config.headers.values());
    if let Some(bad) = names.clone().find(|name| name.len() > LONGEST_NAME || name.chars().any(char::is_control)) {
        return Err(format!("{bad:?} is no name: longer than {LONGEST_NAME} bytes, or with control characters in it"));
    }
    if targets.clone().any(|name| name.is_empty()) {
        return Err("a target or fallback has no name; leave `to` out to mean the model asked for".into());
    }
    if targets.clone().any(|name| name.matches('*').count() > 1) {
        return Err("a target or fallback has more than one *; only the first * of the model's pattern is kept".into());
    }
    let star = config.model.iter().all(|pattern| pattern.contains('*')) && !config.model.is_empty();
    if let Some(name) = targets.clone().find(|name| name.contains('*')).filter(|_| !star) {
        return Err(format!("{name:?} needs a * in every pattern of `model`, to know what its own stands for"));
    }
    if !config.to.is_empty() && config.to.iter().all(|target| target.weight == 0) {
        return Err("all targets have the weight 0; give one of them more, or leave `to` out".into());
    }
    if let Some(path) = config.path.iter().find(|path| !path.starts_with(['/', '*'])) {
        return Err(format!("the path {path:?} matches nothing: paths begin with /, as in \"/v1/*\""));
    }
    let header = |(name, pattern): (&String, &String)| {
        let name = HeaderName::try_from(name.as_str()).map_err(|_| format!("{name:?} is not a header's name"))?;
        Ok((name, Pattern::new(pattern)))
    };
    let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::new(text)).collect();
    Ok(Route {
        name: if config.name.is_empty() { number.to_string() } else { config.name.clone() }.into(),
        model: patterns(&config.model),
        path: patterns(&config.path),
        tenant: patterns(&config.tenant),
        headers: config.headers.iter().map(header).collect::<Result<_, String>>()?,
        to: config.to.clone(),
        fallback: config.fallback.clone(),
        listed: config.listed,
    })
}

#[cfg(test)]
mod tests;
