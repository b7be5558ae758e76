//! What the container engine says, through its command line.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// An engine that takes longer has a trouble of its own.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Compose's label for the containers of one project.
pub(super) const PROJECT_LABEL: &str = "com.docker.compose.project";

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Silence {
    /// There is no `docker` command.
    NotInstalled,
    /// The engine doesn't run.
    NotRunning,
    /// This user may not talk to it.
    NotAllowed,
    /// Anything else, in its words.
    Other(String),
}

/// The standard output of `docker ARGUMENTS`.
pub(super) fn docker(arguments: &[&str]) -> Result<String, Silence> {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|_| Silence::NotInstalled)?;
    // Read beside it: a long answer would fill the pipe, and the program would wait for its reader.
    let output = child.stdout.take().map(|mut pipe| {
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = pipe.read_to_string(&mut text);
            text
        })
    });
    let limit = Instant::now() + ANSWER_WITHIN;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < limit => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Silence::Other(format!("no answer within {} s", ANSWER_WITHIN.as_secs())));
            }
        }
    };
    if status.success() {
        return Ok(output.and_then(|thread| thread.join().ok()).unwrap_or_default());
    }
    let mut complaint = String::new();
    if let Some(mut pipe) = child.stderr.take() {
        let _ = pipe.read_to_string(&mut complaint);
    }
    Err(reason(&complaint))
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

/// The containers that publish this port of the machine, by name.
pub(super) fn publishers(port: u16) -> Vec<String> {
    let filter = format!("publish={port}");
    let names = docker(&["ps", "--filter", &filter, "--format", "{{.Names}}"]).unwrap_or_default();
    names.lines().map(str::to_owned).collect()
}

/// What compose calls the stack of this directory.
pub(super) fn project() -> String {
    std::env::var("COMPOSE_PROJECT_NAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "llmo".to_owned())
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
}
