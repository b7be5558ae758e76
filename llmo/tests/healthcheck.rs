//! `llmo healthcheck` against services that run.

use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Ended with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn llmo(dir: &std::path::Path, port: u16, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmo"));
    command.args(words).current_dir(dir).env("HOME", dir).env("LLMO_STORE__DIR", dir.join("models"));
    command.env("CACHE_SERVICE_PORT", port.to_string()).env("API_PORT", port.to_string()).env("DASHBOARD_PORT", "0");
    command.stdin(Stdio::null());
    command
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Asks until the answer is as wanted, for at most half a minute; the last answer.
fn ask(dir: &std::path::Path, port: u16, words: &[&str], wanted: i32) -> std::io::Result<Output> {
    let limit = Instant::now() + Duration::from_secs(30);
    loop {
        let output = llmo(dir, port, words).output()?;
        if output.status.code() == Some(wanted) || Instant::now() > limit {
            return Ok(output);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_ready_service_is_healthy_and_a_dead_one_is_not() -> Outcome {
    let dir = tempfile::tempdir()?;
    let port = free_port()?;
    let nobody = llmo(dir.path(), port, &["healthcheck", "cache"]).output()?;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("nothing listens there"), "{nobody:?}");

    let service =
        Service(llmo(dir.path(), port, &["serve", "cache"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let healthy = ask(dir.path(), port, &["healthcheck", "cache"], 0)?;
    assert_eq!((healthy.status.code(), &*healthy.stdout), (Some(0), &b"ready\n"[..]), "{healthy:?}");
    drop(service);
    assert_eq!(ask(dir.path(), port, &["healthcheck", "cache"], 1)?.status.code(), Some(1));
    Ok(())
}

#[test]
fn a_gateway_without_replicas_lives_and_is_not_ready() -> Outcome {
    let dir = tempfile::tempdir()?;
    let port = free_port()?;
    let mut gateway = llmo(dir.path(), port, &["serve", "gateway"]);
    gateway.env("MODEL_SERVICE_PORT", free_port()?.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    let _service = Service(gateway.spawn()?);
    assert_eq!(ask(dir.path(), port, &["healthcheck", "--live"], 0)?.status.code(), Some(0));
    let answer = llmo(dir.path(), port, &["healthcheck"]).output()?;
    let said = String::from_utf8_lossy(&answer.stderr).into_owned();
    assert_eq!(answer.status.code(), Some(1), "{said}");
    assert!(said.contains("answers 503: ") && said.contains("replica"), "{said}");
    Ok(())
}

#[test]
fn a_gateway_with_tls_is_asked_by_tls_whatever_name_its_certificate_has() -> Outcome {
    let dir = tempfile::tempdir()?;
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec!["llm.example.org".to_owned()])?.self_signed(&key)?;
    std::fs::write(dir.path().join("cert.pem"), certificate.pem())?;
    std::fs::write(dir.path().join("key.pem"), key.serialize_pem())?;
    let port = free_port()?;
    let secured = |words: &[&str]| {
        let mut command = llmo(dir.path(), port, words);
        command.env("LLMO_TLS__CERT", dir.path().join("cert.pem")).env("LLMO_TLS__KEY", dir.path().join("key.pem"));
        command
    };
    let mut gateway = secured(&["serve", "gateway"]);
    gateway.env("MODEL_SERVICE_PORT", free_port()?.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    let _service = Service(gateway.spawn()?);
    let limit = Instant::now() + Duration::from_secs(30);
    let mut alive = secured(&["healthcheck", "--live"]).output()?;
    while !alive.status.success() && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(50));
        alive = secured(&["healthcheck", "--live"]).output()?;
    }
    assert!(alive.status.success(), "{alive:?}");
    let stranger = llmo(dir.path(), port, &["healthcheck", "--live", "--url", &format!("https://127.0.0.1:{port}")]);
    let refused = { stranger }.output()?;
    assert_eq!(refused.status.code(), Some(1), "a URL that is given is checked as others check it");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("certificate"), "{said}");
    Ok(())
}

#[test]
fn a_service_that_does_not_answer_is_not_waited_for_longer_than_said() -> Outcome {
    let dir = tempfile::tempdir()?;
    // Connections are taken by the system, and nobody reads them.
    let mute = TcpListener::bind("127.0.0.1:0")?;
    let port = mute.local_addr()?.port();
    let output = llmo(dir.path(), port, &["healthcheck", "--timeout", "100"]).output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no answer in time"), "{output:?}");
    Ok(())
}
