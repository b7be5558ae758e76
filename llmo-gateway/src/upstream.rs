//! Clients of upstreams: a [`RemoteModel`] for each model at each replica.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use llmo_backends::remote::{RemoteModel, RemoteOptions};
use llmo_config::GatewayConfig;
use llmo_core::model::{
    EmbedRequest, Embeddings, EventStream, GenerateRequest, KeepAlive, Load, Model, ModelError, ModelInfo, Ranking,
    RerankRequest, Result, TokenId, TokenizeOptions,
};

use crate::replica::Connect;

/// How [`RemoteModel`] begins its text when there was nobody to talk to.
const NO_CONNECTION: &str = "no connection to ";

/// Connects to the models of replicas over HTTP. Nothing is sent until a request is.
#[must_use]
pub fn connector(config: &GatewayConfig) -> Box<Connect> {
    let mut options = RemoteOptions::default();
    options.connect_timeout = Duration::from_millis(config.connect_timeout_ms);
    // The router watches over every attempt and stream itself, since it must know the reason of an end.
    options.first_token_timeout = None;
    options.idle_timeout = None;
    options.enforce_deadline = false;
    Box::new(move |info: &ModelInfo, replica| {
        let mut options = options.clone();
        options.upstream_model = replica.names().there(&info.id).map(str::to_owned);
        options.api_key = replica.access().key().map(str::to_owned);
        options.extensions = replica.takes_extensions();
        let remote = RemoteModel::new(info.clone(), replica.base_url(), options).map_err(|e| e.to_string())?;
        let upstream: Arc<dyn Model> = Arc::new(Upstream(remote));
        Ok(upstream)
    })
}

/// The HTTP client that health checks use. One for all of them.
///
/// # Errors
/// If TLS can't be set up.
pub fn health_client(config: &GatewayConfig) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .user_agent(concat!("llmo-gateway/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_millis(config.connect_timeout_ms.min(config.health_timeout_ms)))
        // Each check opens a connection: a kept one would not notice that nobody accepts new ones.
        .pool_max_idle_per_host(0)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
}

/// A remote model whose errors tell "nobody there" from "it says that it can't".
struct Upstream(RemoteModel);

impl Upstream {
    /// For a caller both mean 503. For a router the first is a dead replica, and its address is nobody's business.
    fn told_apart(error: ModelError) -> ModelError {
        match error {
            ModelError::Unavailable { reason, .. } if reason.starts_with(NO_CONNECTION) => {
                let message = reason.rsplit_once(": ").map_or("no connection", |(_, cause)| cause).to_owned();
                ModelError::Upstream { message, started: false }
            }
            other => other,
        }
    }
}

#[async_trait]
impl Model for Upstream {
    fn info(&self) -> &ModelInfo {
        self.0.info()
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        self.0.generate(request).await.map_err(Self::told_apart)
    }

    async fn generate_borrowed(&self, request: &GenerateRequest) -> Result<EventStream> {
        self.0.generate_borrowed(request).await.map_err(Self::told_apart)
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        self.0.embed(request).await.map_err(Self::told_apart)
    }

    async fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<TokenId>> {
        self.0.tokenize(text, options).await.map_err(Self::told_apart)
    }

    async fn detokenize(&self, tokens: &[TokenId]) -> Result<String> {
        self.0.detokenize(tokens).await.map_err(Self::told_apart)
    }

    async fn render(&self, request: GenerateRequest) -> Result<String> {
        self.0.render(request).await.map_err(Self::told_apart)
    }

    async fn rerank(&self, request: RerankRequest) -> Result<Ranking> {
        self.0.rerank(request).await.map_err(Self::told_apart)
    }

    async fn keep(&self, keep_alive: KeepAlive) -> Result<()> {
        self.0.keep(keep_alive).await.map_err(Self::told_apart)
    }

    fn load(&self) -> Load {
        self.0.load()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::replica::Replica;
    use crate::router::Fate;

    #[tokio::test]
    async fn a_refused_connection_is_a_lost_replica_and_its_address_stays_inside() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        drop(listener);
        let mut info = ModelInfo::new("m", "remote");
        info.capabilities.generate = true;
        info.capabilities.chat = true;
        let connect = connector(&GatewayConfig::default());
        let model = connect(&info, &Replica::new(&url, Instant::now())).expect("a good URL");
        let error = model.generate(GenerateRequest::ask("hello")).await.expect_err("nobody listens");
        assert_eq!(Fate::of(&error), Fate::Lost, "{error}");
        assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    }
}
