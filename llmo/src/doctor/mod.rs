//! `llmo doctor`: one check a file, each with its cure. Checks look; they change nothing.

mod clock;
mod containers;
mod disk;
mod download;
mod engine;
mod kernels;
mod limits;
mod memory;
mod models;
mod ports;
mod redis;
mod report;
mod services;

use llmo_config::Config;

use crate::cli::{DoctorArgs, Layout};
use crate::error::{CliError, Result};
use report::{Check, Finding, State};

type Checker = fn(&Config, Layout) -> Vec<Finding>;

/// In the order of the questions that a person would ask.
const CHECKS: &[(&str, Checker)] = &[
    ("services", services::check),
    ("ports", ports::check),
    ("containers", containers::check),
    ("memory", memory::check),
    ("limits", limits::check),
    ("disk", disk::check),
    ("models", models::check),
    ("download", download::check),
    ("kernels", kernels::check),
    ("redis", redis::check),
    ("clock", clock::check),
];

/// Runs the checks and prints what they found; an error if any found something that has to be cured.
pub(crate) fn run(arguments: &DoctorArgs, config: &Config) -> Result {
    if let Some(unknown) = arguments.only.iter().find(|name| !CHECKS.iter().any(|(known, _)| known == name)) {
        let known: Vec<_> = CHECKS.iter().map(|(name, _)| *name).collect();
        return Err(CliError::Message(format!("there is no check {unknown:?}; checks: {}", known.join(", "))));
    }
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|w| w == name);
    let checks: Vec<Check> = CHECKS
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, check)| Check { name, findings: check(config, arguments.role) })
        .collect();
    report::print(&checks, arguments.json, arguments.quiet);
    let failed = checks.iter().flat_map(|check| &check.findings).any(|finding| finding.state == State::Problem);
    if failed { Err(CliError::Reported) } else { Ok(()) }
}
