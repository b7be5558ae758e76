//! Logs of containers, as their engine keeps them: `docker logs --timestamps`, one for each container.
//!
//! The first look is at the past, to its end; every later one is at what has come since. Containers that come later are found;
//! those that end are asked for again when they run again.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::{Line, Source};
use crate::docker::{self, Container, Silence};
use crate::error::{CliError, Result};

/// How often new containers are looked for.
const LOOK: Duration = Duration::from_secs(2);
/// Lines that wait to be printed; whoever reads slowly makes the engine wait.
const WAITING: usize = 4096;

/// Containers of the stack, each with two streams: what it says, and what it complains of.
pub(super) struct Containers {
    services: Vec<String>,
    /// Lines of the past that are read from each container: a number, or `all`.
    past: String,
    followed: Vec<Followed>,
    looked: Option<Instant>,
    lines: Receiver<(usize, String)>,
    sender: SyncSender<(usize, String)>,
}

struct Followed {
    container: Container,
    /// What prints its new lines; none while it doesn't run.
    child: Option<Child>,
    /// The time of the last line of each stream: where to go on.
    last: [String; 2],
}

impl Containers {
    /// Of these services; none: all. `past`: so many lines of each container; `None`: all of them.
    ///
    /// # Errors
    /// [`CliError::Message`] if the engine does not answer or there is no such container.
    pub(super) fn open(services: &[String], past: Option<usize>) -> Result<Self> {
        let (sender, lines) = sync_channel(WAITING);
        let past = past.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let mut containers =
            Self { services: services.to_vec(), past, followed: Vec::new(), looked: None, lines, sender };
        let there = containers.look(true)?;
        if let Some(missing) = services.iter().find(|&wanted| !there.iter().any(|each| is(each, wanted))) {
            let mut known: Vec<_> = there.iter().map(|each| each.service.as_str()).collect();
            known.sort_unstable();
            known.dedup();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(CliError::Message(format!("there is no container of {missing:?}; there are: {known}")));
        }
        if containers.followed.is_empty() {
            let text = "this stack has no containers; start it: ./run_microservices.sh run --docker".to_owned();
            return Err(CliError::Message(text));
        }
        Ok(containers)
    }

    /// Takes in those that are there and not known yet; gives all that are there.
    fn look(&mut self, all: bool) -> Result<Vec<Container>> {
        let there = docker::containers(all).map_err(|silence| CliError::Message(told(&silence)))?;
        for container in &there {
            let wanted = self.services.is_empty() || self.services.iter().any(|service| is(container, service));
            if wanted && !self.followed.iter().any(|each| each.container.id == container.id) {
                let last = [String::new(), String::new()];
                self.followed.push(Followed { container: container.clone(), child: None, last });
            }
        }
        Ok(there)
    }

    /// What they said until now.
    fn read_past(&mut self, take: &mut dyn FnMut(Line<'_>)) {
        for (index, followed) in self.followed.iter_mut().enumerate() {
            // A container that never started has no log.
            let arguments = ["logs", "--timestamps", "--tail", &self.past, &followed.container.id];
            let Ok(said) = docker::run(&arguments, Duration::from_secs(60)) else { continue };
            for (stream, text) in [said.output, said.complaint].iter().enumerate() {
                for raw in text.lines() {
                    followed.pass(index, stream, raw, take);
                }
            }
        }
    }

    /// Goes on with each that runs and isn't followed.
    fn follow(&mut self) {
        let Ok(running) = docker::containers(false) else { return };
        for (index, followed) in self.followed.iter_mut().enumerate() {
            if let Some(child) = &mut followed.child {
                if matches!(child.try_wait(), Ok(None)) {
                    continue;
                }
                followed.child = None;
            }
            if running.iter().any(|each| each.id == followed.container.id) {
                followed.start(index, &self.sender);
            }
        }
    }
}

impl Source for Containers {
    fn names(&self) -> Vec<String> {
        let prefix = format!("{}-", docker::project());
        let name = |each: &Followed| {
            let name = &each.container.name;
            name.strip_prefix(&prefix).unwrap_or(name).to_owned()
        };
        self.followed.iter().flat_map(|each| [name(each), name(each)]).collect()
    }

    fn read(&mut self, take: &mut dyn FnMut(Line<'_>)) -> Result {
        let Some(looked) = self.looked else {
            self.read_past(take);
            self.looked = Instant::now().checked_sub(LOOK);
            return Ok(());
        };
        if looked.elapsed() >= LOOK {
            // An engine that is silent for a moment may come back.
            let _ = self.look(false);
            self.follow();
            self.looked = Some(Instant::now());
        }
        while let Ok((source, raw)) = self.lines.try_recv() {
            self.followed[source / 2].pass(source / 2, source % 2, &raw, take);
        }
        Ok(())
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for child in self.followed.iter_mut().filter_map(|each| each.child.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Followed {
    /// Hands on a line of the engine's, unless it was handed on before.
    fn pass(&mut self, index: usize, stream: usize, raw: &str, take: &mut dyn FnMut(Line<'_>)) {
        let (time, text) = split(raw);
        if let Some(time) = time {
            if *time <= *self.last[stream] {
                return;
            }
            time.clone_into(&mut self.last[stream]);
        }
        // What a service says of itself is more exact than when the engine heard it.
        take(Line { source: index * 2 + stream, time: super::line::time(text).or(time), text });
    }

    fn start(&mut self, index: usize, sender: &SyncSender<(usize, String)>) {
        let mut command = Command::new("docker");
        command.args(["logs", "--timestamps", "--follow"]);
        // From the earlier of the two: what was seen of the other one is left out.
        match self.last.iter().filter(|time| !time.is_empty()).min() {
            Some(since) => command.args(["--since", &format!("{since}Z")]),
            None => &mut command,
        };
        command.arg(&self.container.id).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Ok(mut child) = command.spawn() else { return };
        pass_on(child.stdout.take(), index * 2, sender.clone());
        pass_on(child.stderr.take(), index * 2 + 1, sender.clone());
        self.child = Some(child);
    }
}

fn pass_on(pipe: Option<impl Read + Send + 'static>, source: usize, sender: SyncSender<(usize, String)>) {
    let Some(pipe) = pipe else { return };
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while pipe.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
            if sender.send((source, text)).is_err() {
                return;
            }
            bytes.clear();
        }
    });
}

/// Is it one of this service, or is that its name?
fn is(container: &Container, wanted: &str) -> bool {
    container.service == wanted
        || container.name == wanted
        || container.name == format!("{}-{wanted}", docker::project())
}

/// The engine's time of a line, and the line.
fn split(raw: &str) -> (Option<&str>, &str) {
    match raw.split_once(' ').or(Some((raw, ""))) {
        Some((time, text)) if super::line::time(time).is_some() => (super::line::time(time), text),
        _ => (None, raw),
    }
}

fn told(silence: &Silence) -> String {
    let why = match silence {
        Silence::NotInstalled => "no container engine is installed",
        Silence::NotRunning => "the container engine does not run",
        Silence::NotAllowed => "this user may not use the container engine",
        Silence::Other(words) => return format!("the container engine says: {words}"),
    };
    format!("{why}: ./run_microservices.sh doctor --docker")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed() -> Followed {
        let container = Container { id: "4f".into(), service: "gateway".into(), name: "llmo-gateway-1".into() };
        Followed { container, child: None, last: [String::new(), String::new()] }
    }

    #[test]
    fn the_engine_s_time_is_taken_off_a_line() {
        let (time, text) = split("2026-11-23T10:00:01.000000001Z {\"a\": 1}");
        assert_eq!((time, text), (Some("2026-11-23T10:00:01.000000001"), "{\"a\": 1}"));
        assert_eq!(split("2026-11-23T10:00:01.000000001Z"), (Some("2026-11-23T10:00:01.000000001"), ""));
        assert_eq!(split("Error: no such container"), (None, "Error: no such container"));
    }

    #[test]
    fn what_was_seen_is_not_told_again() {
        let (mut followed, mut seen) = (followed(), Vec::new());
        let lines = ["2026-11-23T10:00:01.000000001Z a", "2026-11-23T10:00:02.000000001Z b"];
        for raw in [lines[0], lines[1], lines[0], lines[1], "2026-11-23T10:00:02.000000002Z c"] {
            followed.pass(3, 1, raw, &mut |line| seen.push((line.source, line.text.to_owned())));
        }
        assert_eq!(seen, [(7, "a".to_owned()), (7, "b".to_owned()), (7, "c".to_owned())]);
        // The other stream is its own.
        followed.pass(3, 0, lines[0], &mut |line| seen.push((line.source, line.text.to_owned())));
        assert_eq!(seen.last(), Some(&(6, "a".to_owned())));
    }

    #[test]
    fn a_service_is_known_by_its_name_and_by_its_container_s() {
        let container = followed().container;
        assert!(is(&container, "gateway") && is(&container, "llmo-gateway-1") && !is(&container, "gate"));
    }
}
