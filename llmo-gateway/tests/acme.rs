//! A certificate from `pebble`, the ACME server for tests, over loopback: both ways to show that a name is ours, the renewal,
//! and a start from what is on disk. Needs Debian's package `pebble` (`./run_microservices.sh test` installs it).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // Clippy knows tests, but not what they call.
#![cfg(unix)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use llmo_config::Config;
use llmo_gateway::{Gateway, Listeners};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

const NAME: &str = "gateway.llmo.test";
const PATIENCE: Duration = Duration::from_secs(60);

/// An authority, and a name server that says 127.0.0.1 to everything.
struct Authority {
    dir: tempfile::TempDir,
    directory: String,
    roots: String,
    children: Vec<Child>,
}

impl Authority {
    /// One that looks at these ports of ours.
    async fn start(http_port: u16, tls_port: u16, validity_seconds: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        let key = KeyPair::generate().unwrap();
        std::fs::write(dir.path().join("own.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(dir.path().join("own.key"), key.serialize_pem()).unwrap();
        let [listen, management, dns, dns_management] = [free(), free(), free(), free()];
        let own = |name: &str| dir.path().join(name).display().to_string();
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{listen}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": own("own.crt"), "privateKey": own("own.key"),
            "httpPort": http_port, "tlsPort": tls_port, "ocspResponderURL": "",
            "externalAccountBindingRequired": false, "certificateValidityPeriod": validity_seconds,
        }});
        std::fs::write(dir.path().join("pebble.json"), config.to_string()).unwrap();
        let start = |program: &str, arguments: &[String]| {
            let log = std::fs::File::create(dir.path().join(format!("{program}.log"))).unwrap();
            Command::new(program)
                .args(arguments)
                .env("PEBBLE_VA_NOSLEEP", "1")
                // As an authority now and then does: a client must try again.
                .env("PEBBLE_WFE_NONCEREJECT", "20")
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap_or_else(|error| panic!("{program}: {error}; install Debian's package pebble"))
        };
        let names = start(
            "pebble-challtestsrv",
            &["-defaultIPv6", "", "-defaultIPv4", "127.0.0.1", "-http01", "", "-https01", "", "-tlsalpn01", ""]
                .map(str::to_owned)
                .into_iter()
                .chain(["-dns01".into(), format!("127.0.0.1:{dns}")])
                .chain(["-management".into(), format!("127.0.0.1:{dns_management}")])
                .collect::<Vec<_>>(),
        );
        let arguments = ["-config".into(), own("pebble.json"), "-dnsserver".into(), format!("127.0.0.1:{dns}")];
        let pebble = start("pebble", &arguments);
        let url = |port: u16, path: &str| format!("https://localhost:{port}/{path}");
        let (directory, roots) = (url(listen, "dir"), url(management, "roots/0"));
        let authority = Self { dir, directory, roots, children: vec![names, pebble] };
        let begun = Instant::now();
        while authority.client().get(&authority.directory).send().await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "pebble does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        authority
    }

    fn own_certificate(&self) -> std::path::PathBuf {
        self.dir.path().join("own.crt")
    }

    fn client(&self) -> reqwest::Client {
        let own = reqwest::Certificate::from_pem(&std::fs::read(self.own_certificate()).unwrap()).unwrap();
        reqwest::Client::builder().tls_certs_only([own]).no_proxy().build().unwrap()
    }

    /// The root of what it issues.
    async fn root(&self) -> reqwest::Certificate {
        let pem = self.client().get(&self.roots).send().await.unwrap().bytes().await.unwrap();
        reqwest::Certificate::from_pem(&pem).unwrap()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

struct Running {
    https: u16,
    plain: Option<u16>,
    dashboard: u16,
    _guard: DropGuard,
}

impl Running {
    /// A gateway on these ports that gets its certificate from `directory`.
    async fn start(https: u16, plain: Option<u16>, directory: &str, root: &Path, dir: &Path) -> Self {
        let mut config = Config::default();
        config.gateway.upstreams = vec![format!("http://127.0.0.1:{}", free())];
        config.limits.drain_grace_seconds = 0;
        config.tls.acme_domains = vec![NAME.into()];
        config.tls.acme_directory = directory.into();
        config.tls.acme_root = root.into();
        config.tls.acme_dir = dir.join("acme");
        config.tls.acme_terms_agreed = true;
        config.tls.acme_contact = vec!["mailto:ops@llmo.test".into()];
        let gateway = Gateway::with_cache(&config, None).unwrap();
        let listen = async |port: u16| TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let dashboard = listen(0).await;
        let dashboard_port = dashboard.local_addr().unwrap().port();
        let plain_listener = match plain {
            Some(port) => Some(listen(port).await),
            None => None,
        };
        let listeners = Listeners { api: listen(https).await, dashboard: Some(dashboard), plain: plain_listener };
        let shutdown = CancellationToken::new();
        tokio::spawn(gateway.serve(listeners, shutdown.clone()));
        Self { https, plain, dashboard: dashboard_port, _guard: shutdown.drop_guard() }
    }

    fn url(&self) -> String {
        format!("https://{NAME}:{}/livez", self.https)
    }

    fn client(&self, root: reqwest::Certificate) -> reqwest::Client {
        let builder = reqwest::Client::builder().tls_certs_only([root]).no_proxy().pool_max_idle_per_host(0);
        let address = ([127, 0, 0, 1], self.https).into();
        builder.resolve(NAME, address).redirect(reqwest::redirect::Policy::none()).build().unwrap()
    }

    async fn until_trusted(&self, client: &reqwest::Client) {
        let begun = Instant::now();
        loop {
            match client.get(self.url()).send().await {
                Ok(answer) => return assert_eq!(answer.status(), 200),
                Err(error) => assert!(begun.elapsed() < PATIENCE, "no certificate: {error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn metric(&self, name: &str) -> f64 {
        let text =
            reqwest::get(format!("http://127.0.0.1:{}/metrics", self.dashboard)).await.unwrap().text().await.unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_shown_over_plain_http_and_the_certificate_outlives_the_process() {
    let (https, plain) = (free(), free());
    let authority = Authority::start(plain, https, 90 * 86_400).await;
    let root = authority.root().await;
    let (directory, own) = (authority.directory.clone(), authority.own_certificate());
    let state = tempfile::tempdir().unwrap();
    let running = Running::start(https, Some(plain), &directory, &own, state.path()).await;
    let client = running.client(root.clone());
    running.until_trusted(&client).await;
    let plain_url = format!("http://127.0.0.1:{}/livez", running.plain.unwrap());
    let moved = client.get(plain_url).send().await.unwrap();
    assert_eq!(
        (moved.status(), moved.headers()["location"].to_str().unwrap()),
        (reqwest::StatusCode::PERMANENT_REDIRECT, format!("https://127.0.0.1:{https}/livez").as_str())
    );
    let left = running.metric("llmo_tls_cert_not_after_timestamp_seconds").await
        - std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((89.0..91.0).contains(&(left / 86_400.0)), "{left} s");

    // Without the authority the next start takes what is on disk.
    drop((running, authority));
    let again = Running::start(free(), None, &directory, &own, state.path()).await;
    again.until_trusted(&again.client(root)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_shown_within_tls_and_the_certificate_is_renewed_in_time() {
    let https = free();
    let authority = Authority::start(free(), https, 9).await;
    let state = tempfile::tempdir().unwrap();
    let (directory, own) = (authority.directory.clone(), authority.own_certificate());
    let running = Running::start(https, None, &directory, &own, state.path()).await;
    let client = running.client(authority.root().await);
    running.until_trusted(&client).await;
    let begun = Instant::now();
    while running.metric("llmo_tls_reloads_total").await < 2.0 {
        assert!(begun.elapsed() < PATIENCE, "it was not renewed");
        assert_eq!(client.get(running.url()).send().await.expect("no moment without a certificate").status(), 200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(running.metric("llmo_tls_last_reload_successful").await, 1.0);
}
