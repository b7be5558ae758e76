//! `llmo healthcheck`: is a service of this machine ready? What a container asks itself, without a shell or curl.

use std::error::Error;
use std::io::ErrorKind;
use std::time::Duration;

use llmo_config::Config;
use serde_json::Value;

use crate::cli::{HealthcheckArgs, Role};
use crate::connect::at_home;
use crate::error::{CliError, Result};

/// Says what the service says. An error, and so an exit status other than 0, unless that is a yes.
pub(crate) async fn run(arguments: &HealthcheckArgs, config: &Config) -> Result {
    let own = arguments.url.is_none();
    let base = arguments.url.clone().unwrap_or_else(|| base_url(config, arguments.role));
    let path = if arguments.live { "livez" } else { "readyz" };
    let url = format!("{}/{path}", base.trim_end_matches('/'));
    let client = reqwest::Client::builder()
        .timeout(Duration::from_millis(arguments.timeout))
        .no_proxy()
        // This machine is asked by its address, for which no certificate is made. What it says is no secret, and one that
        // has expired is Prometheus' matter: a restart would not renew it.
        .tls_danger_accept_invalid_certs(own)
        .build()
        .map_err(|error| CliError::Message(format!("cannot ask {url}: {error}")))?;
    let answer = client.get(&url).send().await.map_err(|error| CliError::Message(silent(&url, &error)))?;
    let status = answer.status();
    let body = answer.text().await.unwrap_or_default();
    if status.is_success() {
        say!("{}", if arguments.live { "alive" } else { "ready" });
        return Ok(());
    }
    Err(CliError::Message(format!("{url} answers {}: {}", status.as_u16(), reasons(&body))))
}

/// Where a service listens, as seen from its own machine.
fn base_url(config: &Config, role: Role) -> String {
    let (host, port) = match role {
        Role::Gateway => (&config.gateway.host, config.gateway.port),
        Role::Model => (&config.model.host, config.model.port),
        Role::Cache => (&config.cache.host, config.cache.port),
        Role::Store => (&config.store.host, config.store.port),
    };
    let scheme = if matches!(role, Role::Gateway) && config.tls.is_on() { "https" } else { "http" };
    format!("{scheme}://{}:{port}", at_home(host))
}

fn silent(url: &str, error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("{url}: no answer in time");
    }
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let refused = |cause: &(dyn Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == ErrorKind::ConnectionRefused)
    };
    match causes.last() {
        Some(last) if !refused(last) => format!("{url}: {last}"),
        _ => format!("{url}: nothing listens there"),
    }
}

/// What a service that isn't ready gives as reasons; a line of whatever else it says.
fn reasons(body: &str) -> String {
    let told = serde_json::from_str::<Value>(body).ok().and_then(|value| {
        let reasons = value.get("reasons")?.as_array()?;
        Some(reasons.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "))
    });
    told.filter(|text| !text.is_empty()).unwrap_or_else(|| body.lines().next().unwrap_or("no reason").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_listens_everywhere_is_asked_at_home() {
        let mut config = Config::default();
        config.model.host = "0.0.0.0".into();
        config.gateway.host = "::".into();
        assert_eq!(base_url(&config, Role::Model), "http://127.0.0.1:8081");
        assert_eq!(base_url(&config, Role::Gateway), "http://[::1]:80");
        assert_eq!(base_url(&config, Role::Store), "http://127.0.0.1:8083");
        config.cache.host = "fe80::1".into();
        assert_eq!(base_url(&config, Role::Cache), "http://[fe80::1]:8082");
        config.tls.acme_domains.push("llm.example.org".into());
        assert_eq!(base_url(&config, Role::Gateway), "https://[::1]:80");
        assert_eq!(base_url(&config, Role::Model), "http://127.0.0.1:8081", "TLS is the gateway's");
    }

    #[test]
    fn reasons_are_those_of_the_service() {
        assert_eq!(reasons(r#"{"ready":false,"reasons":["loading m","no disk"]}"#), "loading m; no disk");
        assert_eq!(reasons("<html>\n502"), "<html>");
        assert_eq!(reasons(""), "no reason");
    }
}
