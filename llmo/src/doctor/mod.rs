//! `llmo doctor`: one check a file, each with its cure. Checks look; they change nothing.
//!
//! ```text
//!  processes   every check, here
//!  containers  here: services, ports, containers, disk, download, clock
//!              in each model service (inside): memory, limits, models, kernels, as it sees them
//! ```

mod clock;
mod containers;
mod disk;
mod download;
mod inside;
mod kernels;
mod limits;
mod memory;
mod models;
mod ports;
mod published;
mod redis;
mod report;
mod services;

use llmo_config::Config;

use crate::cli::{DoctorArgs, Layout, Part};
use crate::error::{CliError, Result};
use report::{Check, Finding, State};

/// The way of running that is looked at.
struct Scene {
    layout: Layout,
    /// What is started beside the stack itself.
    parts: Vec<Part>,
}

impl Scene {
    fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    fn in_containers(&self) -> bool {
        self.layout == Layout::Containers
    }
}

#[cfg(test)]
impl Scene {
    fn of(layout: Layout) -> Self {
        Self { layout, parts: Vec::new() }
    }
}

type Checker = fn(&Config, &Scene) -> Vec<Finding>;

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

/// What a container sees is another world: its own memory, limits, models and kernels.
const INSIDE: &[&str] = &["memory", "limits", "disk", "models", "kernels"];
/// What this machine has to do with containers does not tell. Redis is one of them, which `containers` looks at.
const NOT_HERE: &[&str] = &["memory", "limits", "models", "kernels", "redis"];

/// Runs the checks and prints what they found; an error if any found something that has to be cured.
pub(crate) fn run(arguments: &DoctorArgs, config: &Config) -> Result {
    if let Some(unknown) = arguments.only.iter().find(|name| !CHECKS.iter().any(|(known, _)| known == name)) {
        let known: Vec<_> = CHECKS.iter().map(|(name, _)| *name).collect();
        return Err(CliError::Message(format!("there is no check {unknown:?}; checks: {}", known.join(", "))));
    }
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|w| w == name);
    let scene = Scene { layout: arguments.role, parts: arguments.with.clone() };
    let elsewhere = if scene.in_containers() { NOT_HERE } else { &[] };
    let mut checks: Vec<Check> = CHECKS
        .iter()
        .filter(|(name, _)| wanted(name) && !elsewhere.contains(name))
        .map(|(name, check)| Check::here(name, check(config, &scene)))
        .collect();
    let names: Vec<_> = INSIDE.iter().copied().filter(|name| wanted(name)).collect();
    if scene.in_containers() && !names.is_empty() {
        checks.extend(inside::checks(&names));
    }
    report::print(&checks, arguments.json, arguments.quiet);
    let failed = checks.iter().flat_map(|check| &check.findings).any(|finding| finding.state == State::Problem);
    if failed { Err(CliError::Reported) } else { Ok(()) }
}
