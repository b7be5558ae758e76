//! How to talk to an upstream.

use std::time::Duration;

/// Options of a [`RemoteModel`](super::RemoteModel). The defaults fit llmo's own services, llama-server, vLLM and
/// Ollama; OpenAI itself wants `extensions = false` and an `api_key`.
#[derive(Clone)]
#[non_exhaustive]
pub struct RemoteOptions {
    /// The name by which the upstream knows the model; `None`: the id of the `ModelInfo`.
    pub upstream_model: Option<String>,
    /// Sent as a bearer token; without one a login in the URL (`http://user:password@host`) is sent.
    pub api_key: Option<String>,
    /// The upstream takes fields that OpenAI does not have: `top_k`, `min_p`, `typical_p`, `repetition_penalty`,
    /// `return_token_ids`, `truncate`. Without it, requests that need one of them are refused as unsupported, and no header
    /// of our own (`x-llmo-…`) is sent: who asks for what is nobody else's business.
    pub extensions: bool,
    /// To open a connection.
    pub connect_timeout: Duration,
    /// From sending a request to its first token: queue and prefill. `None`: no limit but the request's deadline.
    pub first_token_timeout: Option<Duration>,
    /// From one token to the next. Heartbeats don't count: a hung engine behind a living HTTP server is hung.
    pub idle_timeout: Option<Duration>,
    /// End requests at their deadlines. Without it whoever asks has to drop them then; the upstream is told of the deadline
    /// either way.
    pub enforce_deadline: bool,
    /// Sequences that the upstream decodes at once, as far as [`load`](llmo_core::Model::load) tells; 0: unknown.
    pub slots: u32,
    /// Largest event of a stream, in bytes.
    pub max_event_bytes: usize,
    /// Largest answer that is not a stream, in bytes: embeddings, tokens.
    pub max_body_bytes: usize,
    /// Connections kept open while idle.
    pub idle_connections: usize,
    /// Use the proxy that the environment names (`HTTPS_PROXY`). Off: services of one installation talk directly.
    pub system_proxy: bool,
    /// Take any certificate: for an upstream of this machine, asked by an address that no certificate names.
    pub any_certificate: bool,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            upstream_model: None,
            api_key: None,
            extensions: true,
            connect_timeout: Duration::from_secs(1),
            first_token_timeout: Some(Duration::from_secs(120)),
            idle_timeout: Some(Duration::from_secs(30)),
            enforce_deadline: true,
            slots: 0,
            max_event_bytes: 1 << 20,
            max_body_bytes: 64 << 20,
            idle_connections: 64,
            system_proxy: false,
            any_certificate: false,
        }
    }
}

/// Leaves the key out.
impl std::fmt::Debug for RemoteOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteOptions")
            .field("upstream_model", &self.upstream_model)
            .field("api_key", &self.api_key.as_ref().map(|_| "…"))
            .field("extensions", &self.extensions)
            .field("connect_timeout", &self.connect_timeout)
            .field("first_token_timeout", &self.first_token_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_not_printed() {
        let options = RemoteOptions { api_key: Some("sk-secret".into()), ..RemoteOptions::default() };
        assert!(!format!("{options:?}").contains("secret"));
    }
}
