//! A replica that somebody wants, checked.

use std::time::Instant;

use http::HeaderValue;
use llmo_config::{Secret, UpstreamConfig};

use crate::GatewayError;
use crate::replica::{Access, ModelNames, Replica};
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
    /// Its key, and what it takes.
    pub access: Access,
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
        let access = Access { api_key: key(config, &url).map_err(wrong)?, extensions: config.extensions };
        Ok(Self { url, names, weight: config.weight, access })
    }

    /// The replica that is wanted, as of now.
    #[must_use]
    pub fn replica(&self, now: Instant) -> Replica {
        Replica::new(&self.url, now).with_names(self.names.clone()).with_access(self.access.clone())
    }

    /// Is this the replica that is wanted? One that is used for other models, or under other names, or with another key, is
    /// another one.
    #[must_use]
    pub fn is(&self, replica: &Replica) -> bool {
        replica.base_url() == self.url && *replica.names() == self.names && *replica.access() == self.access
    }
}

/// The key of an upstream, from where it is.
fn key(config: &UpstreamConfig, url: &str) -> Result<Secret, String> {
    let given = usize::from(!config.api_key.is_empty())
        + usize::from(!config.api_key_file.as_os_str().is_empty())
        + usize::from(without_login(url) != url);
    if given > 1 {
        return Err("it has more than one of api_key, api_key_file and a login in its URL; give one".to_owned());
    }
    let key = if config.api_key_file.as_os_str().is_empty() {
        config.api_key.clone()
    } else {
        let read = std::fs::read_to_string(&config.api_key_file);
        let text =
            read.map_err(|error| format!("api_key_file {} can't be read: {error}", config.api_key_file.display()))?;
        match text.trim() {
            "" => return Err(format!("api_key_file {} is empty", config.api_key_file.display())),
            key => Secret::from(key.to_owned()),
        }
    };
    match HeaderValue::try_from(key.reveal()) {
        Ok(_) => Ok(key),
        Err(_) => Err("its API key holds characters that no header may hold".to_owned()),
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

    #[test]
    fn a_key_comes_from_where_it_is_and_is_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "sk-secret\n").unwrap();
        let mut config = UpstreamConfig::new("https://api.example/v1");
        config.api_key_file = file.path().to_owned();
        let target = Target::from_config(&config).unwrap();
        assert_eq!(target.access.key(), Some("sk-secret"));
        assert!(!format!("{target:?}").contains("sk-secret"));
        let now = Instant::now();
        assert!(target.is(&target.replica(now)));
        assert!(!target.is(&Target::new("https://api.example").unwrap().replica(now)), "another key, another replica");

        config.api_key = "sk-other".to_owned().into();
        assert!(Target::from_config(&config).unwrap_err().to_string().contains("more than one"));
        config.api_key_file = "/nowhere/key".into();
        config.api_key = Secret::default();
        assert!(Target::from_config(&config).unwrap_err().to_string().contains("/nowhere/key"));
        config.api_key_file = std::path::PathBuf::new();
        config.api_key = "sk\nsecret".to_owned().into();
        let text = Target::from_config(&config).unwrap_err().to_string();
        assert!(text.contains("characters") && !text.contains("secret"), "{text}");
    }
}
