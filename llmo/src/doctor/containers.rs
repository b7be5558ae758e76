//! The container engine, and the containers of this stack: those that died, are ill, or were left behind.

use llmo_config::Config;
use serde_json::Value;

use super::{Finding, Scene};
use crate::docker::{Silence, docker, project_filter, to_type};

pub(super) fn check(config: &Config, scene: &Scene) -> Vec<Finding> {
    let wanted = scene.in_containers();
    match docker(&["version", "--format", "{{.Server.Version}}"]) {
        Ok(version) => {
            let mut findings = vec![Finding::fine(format!("the engine runs (version {})", version.trim()))];
            findings.extend(stack(wanted, config.model.int8));
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

fn stack(wanted: bool, int8: bool) -> Vec<Finding> {
    let filter = project_filter();
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
        described.iter().filter_map(|found| finding(found, int8).or_else(|| outdated(found, newest))).collect();
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

/// What is wrong with a container, as `docker inspect` describes it. `int8`: models are as small as they get already.
fn finding(container: &Value, int8: bool) -> Option<Finding> {
    let name = container["Name"].as_str().unwrap_or("a container").trim_start_matches('/');
    let labels = &container["Config"]["Labels"];
    let service = labels["com.docker.compose.service"].as_str().unwrap_or(name);
    let state = &container["State"];
    let logs = format!("./run_microservices.sh logs {service}");
    if state["OOMKilled"] == true {
        return Some(Finding::problem(
            format!("{name} was killed because its memory limit was reached"),
            more_memory(service, int8),
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
        return Some(Finding::advice(format!("{name} was left behind"), to_type(&format!("rm {name}"))));
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
        Some("paused") => Some(Finding::problem(format!("{name} is paused"), to_type(&format!("unpause {name}")))),
        _ => None,
    }
}

/// The way out for a container that was killed at its limit.
fn more_memory(service: &str, int8: bool) -> String {
    let (variable, more) = match service {
        "model-service" => ("MODEL_MEMORY", "6g"),
        "gateway" => ("GATEWAY_MEMORY", "2g"),
        "cache-service" => ("CACHE_MEMORY", "1g"),
        "storage-service" => ("STORAGE_MEMORY", "1g"),
        "redis" => ("REDIS_MEMORY", "1g"),
        "traefik" => ("TRAEFIK_MEMORY", "1g"),
        "prometheus" => ("PROMETHEUS_MEMORY", "2g"),
        "s3" => ("S3_MEMORY", "2g"),
        _ => return format!("a higher limit for {service} in docker/compose.yaml"),
    };
    let smaller = if service == "model-service" && !int8 { "USE_INT8=true, or " } else { "" };
    format!("{smaller}a higher limit: {variable}={more} in .env; then: ./run_microservices.sh restart")
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
        let found = finding(&container(state), false).expect("a finding");
        (found.state, found.what, found.cure.unwrap_or_default())
    }

    #[test]
    fn a_container_without_memory_gets_int8_or_more() {
        let (state, what, cure) = found(json!({"OOMKilled": true, "Status": "exited", "ExitCode": 137}));
        assert!(state == State::Problem && what.contains("memory limit"), "{what}");
        assert!(cure.contains("USE_INT8=true") && cure.contains("MODEL_MEMORY"), "{cure}");
        assert!(!more_memory("model-service", true).contains("INT8"), "it is set already");
        assert!(more_memory("cache-service", false).starts_with("a higher limit: CACHE_MEMORY"));
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
        assert!(finding(&container(json!({"Running": true, "Status": "running"})), false).is_none());
        assert!(finding(&container(json!({"Status": "exited", "ExitCode": 0})), false).is_none());
        assert!(finding(&Value::Null, false).is_none());
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
