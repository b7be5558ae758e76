//! A replica that somebody wants, checked.

use llmo_config::UpstreamConfig;

use crate::GatewayError;
use crate::replica::ModelNames;
use crate::upstream_url::checked;

/// Largest share; more is a mistake of units.
const MOST_WEIGHT: u32 = 65_535;

/// An upstream as a source describes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Base URL, without a trailing slash.
    pub url: String,
    /// Which of its models are used, and under which names.
    pub names: ModelNames,
    /// Its share of requests beside others; 0: none.
    pub weight: u32,
}

/// What is wrong with an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TargetError(String);

impl TargetError {
    pub(super) fn twice(url: &str) -> Self {
        Self(format!("the upstream {:?} comes twice; name it once", without_login(url)))
    }
}

impl Target {
    /// An upstream that is used for everything it serves.
    ///
    /// # Errors
    /// [`TargetError`] if the URL can't be used.
    pub fn new(url: &str) -> Result<Self, TargetError> {
        Self::from_config(&UpstreamConfig::new(url))
    }

    /// An upstream as configured.
    ///
    /// # Errors
    /// [`TargetError`], with the upstream's URL in it, but no password.
    pub fn from_config(config: &UpstreamConfig) -> Result<Self, TargetError> {
        let url = checked(&config.url).map_err(|error| match error {
            GatewayError::InvalidUpstream { url, reason } => {
                TargetError(format!("the upstream {url:?} {reason}; give a base URL such as http://127.0.0.1:8081"))
            }
            other => TargetError(other.to_string()),
        })?;
        let wrong = |problem: String| TargetError(format!("the upstream {:?}: {problem}", without_login(&url)));
        let names = ModelNames::parse(&config.models).map_err(|problem| wrong(format!("models: {problem}")))?;
        if config.weight > MOST_WEIGHT {
            return Err(wrong(format!("the weight is {}; 0 to {MOST_WEIGHT} is possible", config.weight)));
        }
        Ok(Self { url, names, weight: config.weight })
    }
}

/// What may stand in logs.
pub(super) fn without_login(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_the_upstream_but_without_its_password() {
        let mut config = UpstreamConfig::new("http://user:secret@a:1/v1/");
        assert_eq!(Target::from_config(&config).unwrap().url, "http://user:secret@a:1");
        config.weight = 70_000;
        let text = Target::from_config(&config).unwrap_err().to_string();
        assert!(text.contains("a:1") && text.contains("70000") && !text.contains("secret"), "{text}");
        config.weight = 1;
        config.models = vec!["a=".into()];
        assert!(Target::from_config(&config).unwrap_err().to_string().contains("models"));
        assert!(Target::new("a:1").is_err());
    }
}
