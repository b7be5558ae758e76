//! The container engine, and the containers of this stack: those that died, are ill, or were left behind.

use llmo_config::Config;
use serde_json::Value;

use super::Finding;
use super::engine::{PROJECT_LABEL, Silence, docker, project};
use crate::cli::Layout;

pub(super) fn check(_: &Config, layout: Layout) -> Vec<Finding> {
    let wanted = layout == Layout::Containers;
    match docker(&["version", "--format", "{{.Server.Version}}"]) {
        Ok(version) => {
            let mut findings = vec![Finding::fine(format!("the engine runs (version {})", version.trim()))];
            findings.extend(stack(wanted));
            findings
        }
        Err(silence) => vec![engine_is_silent(&silence, wanted)],
    }
}

/// Without an engine everything but containers works.
fn engine_is_silent(silence: &Silence, wanted: bool) -> Finding {
    let (what, cure) = match silence {
        Silence::NotInstalled if !wanted => return Finding::fine("no container engine; services run without one"),
        Silence::NotInstalled => (
            "no container engine is installed".to_owned(),
            "sudo apt-get install -y docker.io, or run without containers: ./run_microservices.sh run --process",
        ),
        Silence::NotRunning => (
            "a container engine is installed and does not run".to_owned(),
            "sudo systemctl start docker, or run without containers: ./run_microservices.sh run --process",
        ),
        Silence::NotAllowed => (
            "this user may not use the container engine".to_owned(),
            "sudo usermod -aG docker \"$USER\" and log in again (members of that group are as mighty as root)",
        ),
        Silence::Other(words) => (format!("the container engine says: {words}"), "look at: docker info"),
    };
    if wanted { Finding::problem(what, cure) } else { Finding::advice(what, cure) }
}

fn stack(wanted: bool) -> Vec<Finding> {
    let filter = format!("label={PROJECT_LABEL}={}", project());
    let Ok(ids) = docker(&["ps", "-aq", "--filter", &filter]) else { return Vec::new() };
    let ids: Vec<&str> = ids.lines().collect();
    if ids.is_empty() {
        return if wanted { vec![Finding::fine("no container of this stack is there")] } else { Vec::new() };
    }
    let mut arguments = vec!["inspect"];
    arguments.extend(ids);
    let described = docker(&arguments).unwrap_or_default();
    let described: Vec<Value> = serde_json::from_str(&described).unwrap_or_default();
    let newest = |image: &str| docker(&["image", "inspect", "--format", "{{.Id}}", image]).ok();
    let findings: Vec<_> =
        described.iter().filter_map(|container| finding(container).or_else(|| outdated(container, newest))).collect();
    if !findings.is_empty() {
        return findings;
    }
    let running = described.iter().filter(|container| container["State"]["Running"] == true).count();
    vec![Finding::fine(format!("{running} containers of this stack run, none is ill or left behind"))]
}

/// Does it run what was built before? `newest` tells the id of the image that has a name now.
fn outdated(container: &Value, newest: impl Fn(&str) -> Option<String>) -> Option<Finding> {
    let newest = newest(container["Config"]["Image"].as_str()?)?;
    let (name, service) =
        (container["Name"].as_str()?, container["Config"]["Labels"]["com.docker.compose.service"].as_str()?);
    (container["State"]["Running"] == true && container["Image"].as_str()? != newest.trim()).then(|| {
        Finding::advice(
            format!("{} runs an older image than there is", name.trim_start_matches('/')),
            format!("./run_microservices.sh update {service}"),
        )
    })
}

/// What is wrong with a container, as `docker inspect` describes it.
fn finding(container: &Value) -> Option<Finding> {
    let name = container["Name"].as_str().unwrap_or("a container").trim_start_matches('/');
    let labels = &container["Config"]["Labels"];
    let service = labels["com.docker.compose.service"].as_str().unwrap_or(name);
    let state = &container["State"];
    let logs = format!("./run_microservices.sh logs {service}");
    if state["OOMKilled"] == true {
        return Some(Finding::problem(
            format!("{name} was killed because its memory limit was reached"),
            "USE_INT8=true, or a higher limit: MODEL_MEMORY=6g (or CACHE_MEMORY, GATEWAY_MEMORY) in .env",
        ));
    }
    if state["Restarting"] == true {
        return Some(Finding::problem(format!("{name} dies and is started again and again"), logs));
    }
    if state["Health"]["Status"] == "unhealthy" {
        let last = state["Health"]["Log"].as_array().and_then(|log| log.last()?["Output"].as_str());
        let why = last.and_then(|text| text.lines().next()).unwrap_or("no reason given");
        return Some(Finding::problem(format!("{name} is not healthy: {why}"), logs));
    }
    if labels["com.docker.compose.oneoff"] == "True" && state["Running"] != true {
        return Some(Finding::advice(format!("{name} was left behind"), format!("docker rm {name}")));
    }
    let code = state["ExitCode"].as_i64().unwrap_or_default();
    match state["Status"].as_str() {
        Some("exited" | "dead") if code != 0 => Some(Finding::problem(
            format!("{name} ended with {code}"),
            format!("{logs}; then: ./run_microservices.sh restart"),
        )),
        Some("created") => {
            Some(Finding::advice(format!("{name} was made and never started"), "./run_microservices.sh stop, then run"))
        }
        Some("paused") => Some(Finding::problem(format!("{name} is paused"), format!("docker unpause {name}"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::State;
    use super::*;

    fn container(state: Value) -> Value {
        let labels = json!({"com.docker.compose.service": "model-service", "com.docker.compose.oneoff": "False"});
        json!({"Name": "/llmo-model-service-1", "Config": {"Labels": labels}, "State": state})
    }

    fn found(state: Value) -> (State, String, String) {
        let found = finding(&container(state)).expect("a finding");
        (found.state, found.what, found.cure.unwrap_or_default())
    }

    #[test]
    fn a_container_without_memory_gets_int8_or_more() {
        let (state, what, cure) = found(json!({"OOMKilled": true, "Status": "exited", "ExitCode": 137}));
        assert!(state == State::Problem && what.contains("memory limit"), "{what}");
        assert!(cure.contains("USE_INT8=true") && cure.contains("MODEL_MEMORY"), "{cure}");
    }

    #[test]
    fn ill_and_dead_containers_are_named_with_their_reason() {
        let log = json!([{"Output": "first"}, {"Output": "error: http://x/readyz answers 503: loading\nmore"}]);
        let ill = json!({"Running": true, "Status": "running", "Health": {"Status": "unhealthy", "Log": log}});
        assert!(found(ill).1.ends_with("is not healthy: error: http://x/readyz answers 503: loading"));
        let (_, what, cure) = found(json!({"Status": "exited", "ExitCode": 2}));
        assert!(
            what.contains("llmo-model-service-1 ended with 2") && cure.contains("logs model-service"),
            "{what} {cure}"
        );
        assert!(found(json!({"Restarting": true, "Status": "restarting"})).1.contains("again and again"));
    }

    #[test]
    fn what_runs_and_what_has_done_its_work_is_fine() {
        assert!(finding(&container(json!({"Running": true, "Status": "running"}))).is_none());
        assert!(finding(&container(json!({"Status": "exited", "ExitCode": 0}))).is_none());
        assert!(finding(&Value::Null).is_none());
    }

    #[test]
    fn a_container_of_an_older_image_is_stale() {
        let mut running = container(json!({"Running": true, "Status": "running"}));
        running["Image"] = json!("sha256:old");
        running["Config"]["Image"] = json!("llmo:latest");
        let stale = outdated(&running, |_| Some("sha256:new\n".to_owned())).expect("a finding");
        assert_eq!(stale.cure.as_deref(), Some("./run_microservices.sh update model-service"));
        assert!(outdated(&running, |_| Some("sha256:old\n".to_owned())).is_none());
        assert!(outdated(&running, |_| None).is_none());
    }

    #[test]
    fn an_engine_is_missed_only_where_it_is_wanted() {
        assert_eq!(engine_is_silent(&Silence::NotInstalled, false).state, State::Fine);
        assert_eq!(engine_is_silent(&Silence::NotInstalled, true).state, State::Problem);
        assert_eq!(engine_is_silent(&Silence::NotAllowed, false).state, State::Advice);
    }
}
