//! What each model service's container sees: its own `llmo doctor`, run in it.

use std::time::Duration;

use super::memory;
use super::report::{Check, Finding};
use crate::docker::{self, Container};

/// Kernels are libraries that have to be loaded; a busy machine takes its time.
const WITHIN: Duration = Duration::from_secs(60);
const SERVICE: &str = "model-service";

/// These checks, in each model service that runs. Without one only the machine's memory can be looked at.
pub(super) fn checks(names: &[&str]) -> Vec<Check> {
    let running = services();
    if running.is_empty() {
        let memory = names.contains(&"memory").then(|| Check::here("memory", memory::of_machine()));
        return memory.into_iter().collect();
    }
    running.iter().flat_map(|container| asked(container, names)).collect()
}

/// Does a model service run in a container?
pub(super) fn any() -> bool {
    !services().is_empty()
}

fn services() -> Vec<Container> {
    let all = docker::containers(false).unwrap_or_default();
    all.into_iter().filter(|container| container.service == SERVICE).collect()
}

fn asked(container: &Container, names: &[&str]) -> Vec<Check> {
    let only = format!("--only={}", names.join(","));
    let said = docker::run(&["exec", &container.id, "/usr/local/bin/llmo", "doctor", "--json", &only], WITHIN);
    // Its exit status says that something has to be cured, which its text says as well.
    let found = match &said {
        Ok(said) => parsed(&said.output).ok_or_else(|| said.complaint.clone()),
        Err(silence) => Err(format!("{silence:?}")),
    };
    let mut found = found.unwrap_or_else(|words| vec![Check::here("containers", vec![unasked(&words)])]);
    for check in &mut found {
        check.place = Some(container.name.clone());
    }
    found
}

fn parsed(text: &str) -> Option<Vec<Check>> {
    serde_json::from_str(text).ok()
}

fn unasked(words: &str) -> Finding {
    let first = words.lines().next().unwrap_or("no reason");
    Finding::advice(format!("it can't be looked into: {first}"), format!("./run_microservices.sh logs {SERVICE}"))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn what_a_container_s_doctor_says_is_read_back() {
        let told = vec![Check::here("memory", vec![Finding::problem("too little", "more")])];
        let back = parsed(&serde_json::to_string(&told).expect("JSON")).expect("read");
        assert_eq!((&*back[0].name, back[0].findings[0].state), ("memory", State::Problem));
        assert_eq!(back[0].findings[0].cure.as_deref(), Some("more"));
        assert!(parsed("error: no such container").is_none());
        assert!(unasked("OCI runtime exec failed\nmore").what.ends_with("OCI runtime exec failed"));
    }
}
