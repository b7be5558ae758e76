//! Telling gateways that this service is there.
//!
//! Every gateway of `gateway.register` is told at the start, again before each lease ends, and at the end: then it sends nothing
//! new, while what runs is finished. A gateway that is not there is tried again; the service serves all the same.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use llmo_config::Config;
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longest wait for a gateway's answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest wait for the last word: nobody waits for a gateway that is gone.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Wait after a gateway did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// The announcements of a service, until its end.
#[derive(Debug)]
pub struct Announcer(JoinSet<()>);

impl Announcer {
    /// Begins to announce the service that listens at `address`, until `shutdown`.
    #[must_use]
    pub fn start(config: &Config, address: SocketAddr, shutdown: CancellationToken) -> Self {
        let mut tasks = JoinSet::new();
        let client = match reqwest::Client::builder().no_proxy().timeout(PATIENCE).build() {
            Ok(client) => client,
            Err(error) => {
                tracing::warn!(%error, "this service can't announce itself: no HTTP client can be made");
                return Self(tasks);
            }
        };
        for gateway in &config.gateway.register {
            let announcement = Announcement {
                client: client.clone(),
                gateway: gateway.trim().trim_end_matches('/').to_owned(),
                advertise: config.discovery.advertise.clone(),
                address,
                token: config.discovery.token.clone(),
                lease_seconds: config.discovery.lease_seconds.max(1),
            };
            tasks.spawn(announcement.run(shutdown.clone()));
        }
        Self(tasks)
    }

    /// Waits until every gateway was told that the service goes. Call it after the shutdown.
    pub async fn finish(mut self) {
        while self.0.join_next().await.is_some() {}
    }
}

/// A service at one gateway.
struct Announcement {
    client: reqwest::Client,
    gateway: String,
    advertise: String,
    address: SocketAddr,
    token: String,
    lease_seconds: u64,
}

impl Announcement {
    async fn run(self, shutdown: CancellationToken) {
        let mut told = None;
        let mut trouble = String::new();
        loop {
            let next = tokio::select! {
                () = shutdown.cancelled() => break,
                said = self.announce() => match said {
                    Ok((url, lease)) => {
                        if told.is_none() || !trouble.is_empty() {
                            tracing::info!(gateway = self.gateway, url, "announced to the gateway");
                        }
                        (told, trouble) = (Some(url), String::new());
                        (lease / 3).max(Duration::from_millis(300))
                    }
                    Err(problem) => {
                        if trouble != problem {
                            tracing::warn!(gateway = self.gateway, %problem, "the gateway could not be told; trying again");
                        }
                        trouble = problem;
                        RETRY
                    }
                },
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(next) => {}
            }
        }
        if let Some(url) = told {
            self.withdraw(&url).await;
        }
    }

    /// Tells the gateway; returns the URL it was given, and how long that holds.
    async fn announce(&self) -> Result<(String, Duration), String> {
        let url = self.url().await?;
        let body = json!({"url": url, "lease_seconds": self.lease_seconds});
        let request = self.authorised(self.client.post(self.registry())).json(&body);
        let answer = request.send().await.map_err(|error| cause(&error))?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        if !status.is_success() {
            let message = body["error"]["message"].as_str().unwrap_or("is discovery.registry on there?");
            return Err(format!("it answers {status}: {message}"));
        }
        let lease = body["lease_seconds"].as_u64().unwrap_or(self.lease_seconds);
        Ok((url, Duration::from_secs(lease.max(1))))
    }

    async fn withdraw(&self, url: &str) {
        let request = self.authorised(self.client.delete(self.registry())).json(&json!({"url": url}));
        let told = tokio::time::timeout(LAST_WORD, request.send()).await;
        if !matches!(told, Ok(Ok(answer)) if answer.status().is_success()) {
            tracing::warn!(
                gateway = self.gateway,
                "the gateway could not be told that this service goes; it will notice"
            );
        }
    }

    fn registry(&self) -> String {
        format!("{}/registry/replicas", self.gateway)
    }

    fn authorised(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self.token.as_str() {
            "" => request,
            token => request.bearer_auth(token),
        }
    }

    /// Where the gateway reaches this service: as configured; else where it listens, or, if that is every address, the one
    /// from which packets go to the gateway.
    async fn url(&self) -> Result<String, String> {
        if !self.advertise.is_empty() {
            return Ok(self.advertise.trim_end_matches('/').to_owned());
        }
        let ip = match self.address.ip() {
            ip if ip.is_unspecified() => self.towards_gateway().await?,
            ip => ip,
        };
        Ok(format!("http://{}", SocketAddr::new(ip, self.address.port())))
    }

    async fn towards_gateway(&self) -> Result<IpAddr, String> {
        let wrong = |what: &str| format!("gateway.register: {:?} {what}; give http://HOST:PORT", self.gateway);
        let url = reqwest::Url::parse(&self.gateway).map_err(|_| wrong("is not a URL"))?;
        let host = url.host_str().ok_or_else(|| wrong("names no host"))?.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or(80);
        let mut addresses = tokio::net::lookup_host((host, port)).await.map_err(|error| format!("{host}: {error}"))?;
        let gateway = addresses.next().ok_or_else(|| wrong("has no address"))?;
        let any = if gateway.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        // Nothing is sent: connecting only asks the system for the way.
        let way = async {
            let socket = UdpSocket::bind(any).await?;
            socket.connect(gateway).await?;
            socket.local_addr()
        };
        way.await.map(|local| local.ip()).map_err(|error| format!("no way to {gateway}: {error}"))
    }
}

fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
