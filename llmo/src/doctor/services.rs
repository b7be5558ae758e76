//! The stack as it runs here: is it ready, and does a service keep dying?

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use llmo_config::Config;
use serde_json::Value;

use super::{Finding, Scene};
use crate::cli::{Layout, Part};
use crate::connect::{api_url, at_home};

const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A service that was started again this often has more than bad luck.
const MANY_RESTARTS: u32 = 3;
/// The status of a service with many models is long.
const LARGEST_ANSWER: u64 = 4 << 20;

pub(super) fn check(config: &Config, scene: &Scene) -> Vec<Finding> {
    let mut findings: Vec<_> = asked(config, scene).map(|url| readiness(&url, scene.layout)).into_iter().collect();
    if scene.in_containers() {
        return findings;
    }
    let run_dir = run_dir();
    for name in supervised(&run_dir) {
        findings.extend(service(&run_dir, &name));
    }
    findings
}

/// Whom to ask in plain HTTP: with TLS at the API that is the dashboard, if there is one that wants no password.
fn asked(config: &Config, scene: &Scene) -> Option<String> {
    let gateway = &config.gateway;
    if scene.in_containers() {
        return match (scene.has(Part::Tls), scene.has(Part::Traefik)) {
            (false, _) => Some(format!("http://127.0.0.1:{}", gateway.port)),
            (true, false) => Some(format!("http://127.0.0.1:{}", gateway.dashboard_port)),
            (true, true) => None,
        };
    }
    if !config.tls.is_on() {
        return Some(api_url(config));
    }
    let host = at_home(&gateway.dashboard_host);
    (gateway.dashboard_port != 0).then(|| format!("http://{host}:{}", gateway.dashboard_port))
}

/// Where `run_microservices.sh` keeps what it knows of its processes.
pub(super) fn run_dir() -> PathBuf {
    std::env::var_os("LLMO_RUN_DIR").filter(|dir| !dir.is_empty()).map_or_else(|| PathBuf::from("run"), PathBuf::from)
}

/// Is this a process of the stack that was started from here?
pub(super) fn is_ours(run_dir: &Path, pid: u32) -> bool {
    supervised(run_dir).iter().any(|name| read_number(&run_dir.join(format!("{name}.pid"))) == Some(pid))
}

fn supervised(run_dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(run_dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".supervisor.pid")?.to_owned()))
        .collect();
    names.sort();
    names
}

fn service(run_dir: &Path, name: &str) -> Option<Finding> {
    let supervisor = read_number(&run_dir.join(format!("{name}.supervisor.pid")))?;
    if !Path::new("/proc").join(supervisor.to_string()).exists() && Path::new("/proc/self").exists() {
        return Some(Finding::advice(
            format!("{name} was not stopped in order: the machine, or its supervisor, went away"),
            "./run_microservices.sh run starts it again",
        ));
    }
    let restarts = read_number(&run_dir.join(format!("{name}.restarts"))).unwrap_or_default();
    (restarts >= MANY_RESTARTS).then(|| {
        Finding::problem(
            format!("{name} has died {restarts} times since it was started"),
            format!("its last words: ./run_microservices.sh logs {name}"),
        )
    })
}

fn read_number(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn readiness(url: &str, layout: Layout) -> Finding {
    let answer = get(url, "/readyz");
    let logs = match layout {
        Layout::Mono => "./run_microservices.sh logs mono",
        _ => "./run_microservices.sh logs model-service",
    };
    judged(url, answer, logs)
}

/// `answer`: status and body, or `None` if nobody listens.
fn judged(url: &str, answer: Option<(u16, String)>, logs: &str) -> Finding {
    match answer {
        None => Finding::fine(format!("nothing answers at {url}: the stack does not run")),
        Some((200, _)) => Finding::fine(format!("{url} is ready")),
        Some((503, body)) => {
            let body: Value = serde_json::from_str(&body).unwrap_or_default();
            let reasons =
                body["reasons"].as_array().map(|all| all.iter().filter_map(Value::as_str).collect::<Vec<_>>());
            let reasons =
                reasons.filter(|all| !all.is_empty()).map_or("no reason given".to_owned(), |all| all.join("; "));
            Finding::problem(format!("{url} is not ready: {reasons}"), logs)
        }
        Some((status, _)) => Finding::advice(
            format!("{url} answers {status} to /readyz: it is not llmo that listens there"),
            "choose another port, e.g. API_PORT=8000 (environment or .env)",
        ),
    }
}

/// A question in plain HTTP: what the checks need of it, without an asynchronous runtime.
pub(super) fn get(url: &str, path: &str) -> Option<(u16, String)> {
    let authority = url.strip_prefix("http://")?;
    let address = authority.to_socket_addrs().ok()?.next()?;
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN).ok()?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    // What came before a timeout counts.
    let _ = stream.take(LARGEST_ANSWER).read_to_end(&mut answer);
    parse(&String::from_utf8_lossy(&answer))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let status = answer.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn what_the_api_says_is_told_with_a_cure() {
        let judge = |answer: Option<(u16, &str)>| judged("http://h", answer.map(|(s, b)| (s, b.to_owned())), "logs");
        assert_eq!(judge(None).state, State::Fine);
        assert_eq!(judge(Some((200, "{}"))).state, State::Fine);
        let ill = judge(Some((503, r#"{"ready":false,"reasons":["no replica is ready"]}"#)));
        assert!(ill.state == State::Problem && ill.what.contains("no replica is ready"), "{ill:?}");
        assert!(judge(Some((404, ""))).what.contains("not llmo"));
        assert_eq!(parse("HTTP/1.1 503 X\r\na: b\r\n\r\n{}"), Some((503, "{}".to_owned())));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn with_tls_the_dashboard_is_asked() {
        let mut config = Config::default();
        let asked = |config: &Config| super::asked(config, &Scene::of(Layout::Services));
        assert_eq!(asked(&config).as_deref(), Some("http://127.0.0.1:80"));
        config.tls.cert = "/etc/llmo/tls/fullchain.pem".into();
        config.gateway.dashboard_host = "0.0.0.0".into();
        assert_eq!(asked(&config).as_deref(), Some("http://127.0.0.1:8080"));
        config.gateway.dashboard_port = 0;
        assert_eq!(asked(&config), None);
    }

    #[test]
    fn containers_are_asked_at_what_they_publish_without_a_password() {
        let asked = |parts: &[Part]| {
            let scene = Scene { layout: Layout::Containers, parts: parts.to_vec() };
            super::asked(&Config::default(), &scene)
        };
        assert_eq!(asked(&[]).as_deref(), Some("http://127.0.0.1:80"));
        assert_eq!(asked(&[Part::Traefik]).as_deref(), Some("http://127.0.0.1:80"));
        assert_eq!(asked(&[Part::Tls]).as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!(asked(&[Part::Tls, Part::Traefik]), None);
    }

    #[test]
    fn services_that_keep_dying_and_those_whose_supervisor_is_gone_are_named() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let own = std::process::id();
        std::fs::write(dir.path().join("gateway.supervisor.pid"), format!("{own}\n"))?;
        std::fs::write(dir.path().join("gateway.pid"), "77\n")?;
        std::fs::write(dir.path().join("gateway.restarts"), "4\n")?;
        // No process has this number: it is above the largest that Linux gives.
        std::fs::write(dir.path().join("model-service.supervisor.pid"), "4194305\n")?;
        assert_eq!(supervised(dir.path()), ["gateway", "model-service"]);
        let dying = service(dir.path(), "gateway").expect("a finding");
        assert!(dying.state == State::Problem && dying.what.contains("4 times"), "{dying:?}");
        assert!(service(dir.path(), "model-service").is_some_and(|found| found.what.contains("not stopped in order")));
        assert!(is_ours(dir.path(), 77) && !is_ours(dir.path(), 78));
        Ok(())
    }
}
