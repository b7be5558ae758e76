//! TLS at the gateway: certificates from files that are watched, or from an authority ([`acme`]), and the plain port beside it.

pub mod acme;

use std::sync::Arc;
use std::time::Duration;

use llmo_config::{LimitsConfig, TlsConfig};
use llmo_server::http::tls::redirect::{self, HttpChallenges};
use llmo_server::http::tls::watch::WatchedFiles;
use llmo_server::http::tls::{Certificates, Tls, TlsMetrics};
use llmo_server::http::{self, ServeOptions};
use llmo_server::metrics::Metrics;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::GatewayError;
use crate::provider::LookNow;

/// What keeps TLS going, for as long as it lives.
pub(crate) struct Secured {
    tls: Tls,
    /// Looks at the files now, if there are any.
    look: Option<Arc<LookNow>>,
    _tasks: JoinSet<()>,
}

impl Secured {
    /// Starts what the configuration wants; `None` without TLS. `plain` is the port that sends everybody to `https_port`.
    ///
    /// # Errors
    /// [`GatewayError::Tls`]: a certificate that is no good at the start is an error, unlike one that comes later.
    pub(crate) fn start(
        config: &TlsConfig,
        plain: Option<TcpListener>,
        https_port: u16,
        limits: &LimitsConfig,
        metrics: &Metrics,
    ) -> Result<Option<Self>, GatewayError> {
        if !config.is_on() {
            return Ok(None);
        }
        let certificates = Arc::new(Certificates::default());
        let tls = Tls::new(Arc::clone(&certificates)).map_err(wrong)?;
        let mut tasks = JoinSet::new();
        let challenges = HttpChallenges::default();
        let over_http = plain.is_some();
        let mut look = None;
        if let Some(listener) = plain {
            let router = redirect::router(https_port, challenges.clone());
            let mut options = ServeOptions::from(limits);
            options.drain_grace = Duration::ZERO;
            tasks.spawn(async move {
                // It ends with the gateway: nothing there is worth waiting for.
                if let Err(error) = http::serve(listener, router, options, CancellationToken::new()).await {
                    tracing::error!(%error, "the plain port beside TLS has failed");
                }
            });
        }
        if config.acme_domains.is_empty() {
            if config.cert.as_os_str().is_empty() || config.key.as_os_str().is_empty() {
                return Err(wrong("tls.cert and tls.key go together: set both, or tls.acme_domains"));
            }
            let files = WatchedFiles::open(&config.cert, &config.key, &certificates).map_err(wrong)?;
            let interval = Duration::from_millis(config.reload_interval_ms.max(50));
            let files = Arc::new(Mutex::new(files));
            tasks.spawn(WatchedFiles::watch(Arc::clone(&files), Arc::clone(&certificates), interval));
            let certificates = Arc::clone(&certificates);
            look = Some(Arc::new(move || files.lock().look(&certificates)) as Arc<LookNow>);
        } else {
            let challenges = over_http.then_some(challenges);
            let keeper = acme::Keeper::new(config, Arc::clone(&certificates), challenges).map_err(wrong)?;
            tasks.spawn(keeper.keep());
        }
        metrics.register(|registry| registry.register_collector(Box::new(TlsMetrics(certificates))));
        Ok(Some(Self { tls, look, _tasks: tasks }))
    }

    pub(crate) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Looks at the certificate's files at once; `None` where an authority gives it.
    pub(crate) fn look(&self) -> Option<&Arc<LookNow>> {
        self.look.as_ref()
    }
}

fn wrong(error: impl std::fmt::Display) -> GatewayError {
    GatewayError::Tls(error.to_string())
}
