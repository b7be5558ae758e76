//! What the container engine says, through its command line.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// An engine that takes longer has a trouble of its own.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Compose's label for the containers of one project.
const PROJECT_LABEL: &str = "com.docker.compose.project";

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Silence {
    /// There is no `docker` command.
    NotInstalled,
    /// The engine doesn't run.
    NotRunning,
    /// This user may not talk to it.
    NotAllowed,
    /// Anything else, in its words.
    Other(String),
}

/// A container of the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    /// The engine's name for it, for other commands.
    pub(crate) id: String,
    /// What it is, e.g. `model-service`.
    pub(crate) service: String,
    /// Its name, e.g. `llmo-model-service-1`.
    pub(crate) name: String,
}

/// What a command printed, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its exit status was 0.
    pub(crate) success: bool,
    /// Standard output.
    pub(crate) output: String,
    /// Standard error.
    pub(crate) complaint: String,
}

/// The standard output of `docker ARGUMENTS`.
pub(crate) fn docker(arguments: &[&str]) -> Result<String, Silence> {
    let said = run(arguments, ANSWER_WITHIN)?;
    if said.success { Ok(said.output) } else { Err(reason(&said.complaint)) }
}

/// Runs `docker ARGUMENTS` to its end, which may be a failure; after `within` it is killed.
pub(crate) fn run(arguments: &[&str], within: Duration) -> Result<Said, Silence> {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|_| Silence::NotInstalled)?;
    // Read beside it: a long answer would fill a pipe, and the program would wait for its reader.
    let output = child.stdout.take().map(reader);
    let complaint = child.stderr.take().map(reader);
    let limit = Instant::now() + within;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < limit => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Silence::Other(format!("no answer within {} s", within.as_secs())));
            }
        }
    };
    let text = |thread: Option<std::thread::JoinHandle<String>>| thread.and_then(|t| t.join().ok()).unwrap_or_default();
    Ok(Said { success: status.success(), output: text(output), complaint: text(complaint) })
}

fn reader(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn reason(complaint: &str) -> Silence {
    if complaint.contains("permission denied") {
        return Silence::NotAllowed;
    }
    if complaint.contains("Cannot connect to the Docker daemon") || complaint.contains("failed to connect") {
        return Silence::NotRunning;
    }
    Silence::Other(complaint.lines().next().unwrap_or("no reason").to_owned())
}

/// The containers that publish this port of the machine, by name: those of this stack, and others.
pub(crate) fn publishers(port: u16) -> (Vec<String>, Vec<String>) {
    let publish = format!("publish={port}");
    let project = project_filter();
    let names = |arguments: &[&str]| -> Vec<String> {
        docker(arguments).unwrap_or_default().lines().map(str::to_owned).collect()
    };
    let all = names(&["ps", "--filter", &publish, "--format", "{{.Names}}"]);
    if all.is_empty() {
        return (all, Vec::new());
    }
    let ours = names(&["ps", "--filter", &publish, "--filter", &project, "--format", "{{.Names}}"]);
    let others = all.into_iter().filter(|name| !ours.contains(name)).collect();
    (ours, others)
}

/// What Compose calls the stack of this directory.
pub(crate) fn project() -> String {
    std::env::var("COMPOSE_PROJECT_NAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "llmo".to_owned())
}

/// The engine's filter for what belongs to the stack of this directory.
pub(crate) fn project_filter() -> String {
    format!("label={PROJECT_LABEL}={}", project())
}

/// The containers of this stack that run, by name; with `all` also those that don't.
pub(crate) fn containers(all: bool) -> Result<Vec<Container>, Silence> {
    let project = project_filter();
    // What `docker run` made for one errand has the project's label, too.
    let lasting = "label=com.docker.compose.oneoff=False";
    let format = "{{.ID}}\t{{.Label \"com.docker.compose.service\"}}\t{{.Names}}";
    let mut arguments = vec!["ps", "--no-trunc", "--filter", &project, "--filter", lasting, "--format", format];
    if all {
        arguments.push("--all");
    }
    let mut found: Vec<_> = docker(&arguments)?.lines().filter_map(container).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn container(line: &str) -> Option<Container> {
    let mut words = line.split('\t').map(str::to_owned);
    Some(Container { id: words.next()?, service: words.next()?, name: words.next()? })
}

/// A command for people to type: `docker ARGUMENTS`, to the engine that this program asks.
pub(crate) fn to_type(arguments: &str) -> String {
    typed(arguments, std::env::var("DOCKER_HOST").ok().as_deref())
}

fn typed(arguments: &str, host: Option<&str>) -> String {
    match host.filter(|host| !host.is_empty()) {
        Some(host) => format!("DOCKER_HOST={host} docker {arguments}"),
        None => format!("docker {arguments}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_complains_of_is_told_apart() {
        let denied =
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock";
        assert_eq!(reason(denied), Silence::NotAllowed);
        let down = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?";
        assert_eq!(reason(down), Silence::NotRunning);
        assert_eq!(reason("unknown flag: --x\nUsage"), Silence::Other("unknown flag: --x".into()));
    }

    #[test]
    fn a_container_has_an_id_a_service_and_a_name() {
        let found = container("4f\tmodel-service\tllmo-model-service-1").map(|each| (each.id, each.service, each.name));
        assert_eq!(found, Some(("4f".into(), "model-service".into(), "llmo-model-service-1".into())));
        assert_eq!(container("4f"), None);
    }

    #[test]
    fn what_people_type_goes_to_the_same_engine() {
        assert_eq!(typed("rm a", Some("unix:///run/e.sock")), "DOCKER_HOST=unix:///run/e.sock docker rm a");
        assert_eq!(typed("rm a", None), "docker rm a");
    }
}
