//! Base URLs of upstreams, checked before anything connects to them.

use llmo_config::Config;

use crate::GatewayError;

/// The base URLs that `gateway.upstreams` names; the local model service if nothing names any upstream, or a place to look
/// for them.
///
/// # Errors
/// [`GatewayError::InvalidUpstream`] for the first that can't be used, or that comes twice.
pub fn upstream_urls(config: &Config) -> Result<Vec<String>, GatewayError> {
    if config.gateway.upstreams.is_empty() && config.upstreams.is_empty() && !config.discovery.is_on() {
        return Ok(vec![format!("http://{}:{}", reachable(&config.model.host), config.model.port)]);
    }
    let mut urls: Vec<String> = Vec::new();
    for given in &config.gateway.upstreams {
        let url = checked(given)?;
        if urls.contains(&url) {
            return Err(invalid(given, "comes twice"));
        }
        urls.push(url);
    }
    Ok(urls)
}

pub(crate) fn checked(given: &str) -> Result<String, GatewayError> {
    let url = reqwest::Url::parse(given.trim()).map_err(|error| invalid(given, &format!("is not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid(given, "does not begin with http:// or https://"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid(given, "has a query or a fragment"));
    }
    // Both the root of a service and its /v1 are taken; paths are put behind the root.
    let url = url.as_str().trim_end_matches('/');
    Ok(url.strip_suffix("/v1").unwrap_or(url).to_owned())
}

fn invalid(given: &str, reason: &str) -> GatewayError {
    // The text ends up in logs: what stands before an @ may be a password.
    let shown = match (given.split_once("://"), given.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => given.to_owned(),
    };
    GatewayError::InvalidUpstream { url: shown, reason: reason.to_owned() }
}

/// A service that listens on every address is reached on this machine's own.
fn reachable(host: &str) -> String {
    match host {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" | "[::]" => "[::1]".to_owned(),
        host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(upstreams: &[&str]) -> Result<Vec<String>, GatewayError> {
        let mut config = Config::default();
        config.gateway.upstreams = upstreams.iter().map(|url| (*url).to_owned()).collect();
        upstream_urls(&config)
    }

    #[test]
    fn without_upstreams_the_local_model_service_is_one() {
        assert_eq!(urls(&[]).expect("the default"), ["http://127.0.0.1:8081"]);
        let mut config = Config::default();
        config.model.host = "0.0.0.0".into();
        assert_eq!(upstream_urls(&config).expect("the default"), ["http://127.0.0.1:8081"]);
    }

    #[test]
    fn a_root_and_its_v1_are_the_same_upstream() {
        assert_eq!(urls(&["http://a:1/v1/", "https://b/x/"]).expect("good"), ["http://a:1", "https://b/x"]);
        assert!(urls(&["http://a:1", "http://a:1/v1"]).is_err());
    }

    #[test]
    fn what_is_no_base_url_is_refused_without_showing_passwords() {
        for bad in ["", "localhost:8081", "ftp://a", "http://", "http://a?x=1", "127.0.0.1"] {
            assert!(urls(&[bad]).is_err(), "{bad}");
        }
        let error = urls(&["ftp://user:secret@host"]).expect_err("wrong scheme").to_string();
        assert!(!error.contains("secret") && error.contains("host"), "{error}");
    }
}
