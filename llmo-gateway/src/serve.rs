//! The gateway as a process: its sockets, and its way up and down.

use std::sync::Arc;
use std::time::Duration;

use llmo_config::{Config, Loaded};
use llmo_server::frontend::{self, FrontendOptions};
use llmo_server::http::{self, ServeOptions};
use llmo_server::metrics::{Metrics, Role};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::tls::Secured;
use crate::{Gateway, GatewayError, dashboard, keys, routing, usage};

/// Longest wait for the first health checks before requests are taken.
const FIRST_CHECKS: Duration = Duration::from_secs(1);
/// The dashboard has nothing that is worth waiting for when everything else is over.
const DASHBOARD_GRACE: Duration = Duration::from_millis(500);

/// The sockets that a gateway listens on.
#[derive(Debug)]
pub struct Listeners {
    /// For clients.
    pub api: TcpListener,
    /// For people and monitoring.
    pub dashboard: Option<TcpListener>,
    /// Beside TLS: for those who come without.
    pub plain: Option<TcpListener>,
}

impl Listeners {
    /// Listens where the configuration says.
    ///
    /// # Errors
    /// [`GatewayError::Bind`], naming the setting that chooses another port.
    pub async fn bind(config: &Config) -> Result<Self, GatewayError> {
        let gateway = &config.gateway;
        let api = http::bind(&gateway.host, gateway.port, "API_PORT or LLMO_GATEWAY__PORT").await?;
        let dashboard = match gateway.dashboard_port {
            0 => None,
            port => {
                let setting = "DASHBOARD_PORT or LLMO_GATEWAY__DASHBOARD_PORT (0: no dashboard)";
                Some(http::bind(&gateway.dashboard_host, port, setting).await?)
            }
        };
        let plain = match config.tls.redirect_port {
            0 => None,
            _ if !config.tls.is_on() => None,
            port => Some(http::bind(&gateway.host, port, "LLMO_TLS__REDIRECT_PORT (0: no redirect)").await?),
        };
        Ok(Self { api, dashboard, plain })
    }
}

/// Runs a gateway as configured until `shutdown` is cancelled, then drains and returns.
///
/// # Errors
/// [`GatewayError`]: before anything is served, whatever is wrong with configuration and ports.
pub async fn run(config: &Config, shutdown: CancellationToken) -> Result<(), GatewayError> {
    let gateway = Gateway::new(config).await?;
    let listeners = Listeners::bind(config).await?;
    gateway.serve(listeners, shutdown).await
}

/// The same, and changes of the configuration's file are applied while it runs: upstreams and routes.
///
/// # Errors
/// As for [`run`].
pub async fn run_reloading(loaded: &Loaded, shutdown: CancellationToken) -> Result<(), GatewayError> {
    let gateway = Gateway::new(&loaded.config).await?.reloading(loaded);
    let listeners = Listeners::bind(&loaded.config).await?;
    gateway.serve(listeners, shutdown).await
}

impl Gateway {
    /// Serves on these sockets until `shutdown` is cancelled, then drains and returns.
    ///
    /// # Errors
    /// [`GatewayError::Client`], [`GatewayError::Tls`], [`GatewayError::Serve`].
    pub async fn serve(self, listeners: Listeners, shutdown: CancellationToken) -> Result<(), GatewayError> {
        self.serve_with(listeners, Metrics::new(Role::Gateway), shutdown).await
    }

    /// The same among the metrics of a process that has others too.
    ///
    /// # Errors
    /// [`GatewayError::Client`], [`GatewayError::Serve`].
    pub async fn serve_with(
        self,
        listeners: Listeners,
        metrics: Arc<Metrics>,
        shutdown: CancellationToken,
    ) -> Result<(), GatewayError> {
        let limits = &self.config().limits;
        self.register(&metrics);
        let mut serving = ServeOptions::from(limits);
        let https_port = listeners.api.local_addr()?.port();
        let secured = Secured::start(&self.config().tls, listeners.plain, https_port, limits, &metrics)?;
        serving.tls = secured.as_ref().map(|secured| secured.tls().clone());
        if let Some(look) = secured.as_ref().and_then(Secured::look) {
            self.sources().reloads.certificates(Arc::clone(look));
        }
        let _checks = self.start_checks()?;
        self.first_checks(FIRST_CHECKS).await;

        let over = CancellationToken::new();
        let admin = listeners.dashboard.map(|listener| {
            log_address("dashboard", &listener);
            let mut options = ServeOptions::from(limits);
            options.drain_delay = Duration::ZERO;
            options.drain_grace = DASHBOARD_GRACE;
            let router = dashboard::router(self.sources().clone(), metrics.clone());
            tokio::spawn(http::serve(listener, router, options, over.clone()))
        });
        log_address("gateway", &listeners.api);
        let status = llmo_server::services::model::status_route(self.models());
        let mut options = FrontendOptions::new(limits, metrics.clone());
        options.explain_route = self.config().gateway.explain_route;
        options.tenant_from = keys::tenant_from(&self.config().gateway);
        let app = frontend::router_with(self.models(), options, status);
        let app = app.layer(routing::remember(self.sources().routes.clone()));
        let app = match self.ledger() {
            Some(ledger) => app.layer(usage::request::around(ledger.clone())),
            None => app,
        };
        // Outermost: a rule may look at the tenant, whom the key tells.
        let app = match self.keys() {
            Some(ring) => app.layer(keys::guard::guarding(Arc::clone(ring), metrics)),
            None => app,
        };
        let served = http::serve(listeners.api, app, serving, shutdown).await;
        if let Some(ledger) = self.ledger() {
            ledger.flush().await;
        }
        // The dashboard stays for as long as there is something to look at: the drain.
        over.cancel();
        if let Some(admin) = admin
            && let Err(error) = admin.await
        {
            tracing::warn!(%error, "the dashboard did not end in order");
        }
        Ok(served?)
    }
}

fn log_address(what: &str, listener: &TcpListener) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "{what} is listening");
    }
}
