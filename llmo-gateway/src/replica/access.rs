//! How a replica wants to be spoken to.

use llmo_config::Secret;

/// What requests to a replica carry besides themselves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Access {
    /// Sent as a bearer token, with requests and health checks; empty: none, or the login in its URL.
    pub api_key: Secret,
    /// Does it take parameters that OpenAI does not have? `None`: as it says itself ([`Replica::takes_extensions`]).
    ///
    /// [`Replica::takes_extensions`]: super::Replica::takes_extensions
    pub extensions: Option<bool>,
}

impl Access {
    /// The key, if there is one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        Some(self.api_key.reveal()).filter(|key| !key.is_empty())
    }
}
