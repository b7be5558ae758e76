//! What checks find, and how it is printed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Fine,
    /// Works, and could be better.
    Advice,
    /// Has to be cured.
    Problem,
}

/// One thing that a check saw.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Finding {
    pub(super) state: State,
    pub(super) what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cure: Option<String>,
}

impl Finding {
    pub(super) fn fine(what: impl Into<String>) -> Self {
        Self { state: State::Fine, what: what.into(), cure: None }
    }

    pub(super) fn advice(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: State::Advice, what: what.into(), cure: Some(cure.into()) }
    }

    pub(super) fn problem(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: State::Problem, what: what.into(), cure: Some(cure.into()) }
    }
}

/// A check and what it saw.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Check {
    pub(super) name: Cow<'static, str>,
    /// The container that it looked into; `None`: this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<String>,
    pub(super) findings: Vec<Finding>,
}

impl Check {
    /// Of this machine.
    pub(super) fn here(name: &'static str, findings: Vec<Finding>) -> Self {
        Self { name: name.into(), place: None, findings }
    }
}

/// Prints findings for people (problems on standard error if nothing else is wanted) or as one JSON document.
pub(super) fn print(checks: &[Check], json: bool, quiet: bool) {
    if json {
        say!("{}", serde_json::to_string_pretty(checks).unwrap_or_default());
        return;
    }
    let mut place = None;
    for check in checks {
        if check.place != place && !quiet {
            place.clone_from(&check.place);
            say!("in {}:", place.as_deref().unwrap_or("this machine"));
        }
        for finding in &check.findings {
            let cure = finding.cure.as_ref().map_or_else(String::new, |cure| format!("\n             cure: {cure}"));
            match finding.state {
                State::Problem if quiet => {
                    eprintln!("error: {}{}", finding.what, cure.replace("             cure: ", "       "))
                }
                State::Problem => say!("problem {:>10}: {}{cure}", check.name, finding.what),
                _ if quiet => {}
                State::Advice => say!("advice  {:>10}: {}{cure}", check.name, finding.what),
                State::Fine => say!("fine    {:>10}: {}", check.name, finding.what),
            }
        }
    }
}
