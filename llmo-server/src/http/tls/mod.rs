//! TLS by rustls: certificates that can be changed while connections are open, HTTP/2 by ALPN.
//!
//! ```text
//!  files ─► pair ─► watch ─┐
//!                          ├─► Certificates ─► ServerConfig ─► every new connection
//!  ACME (llmo-gateway) ────┘        └─► metrics
//! ```
//!
//! * `pair`: a certificate chain and its key, checked. `certificates`: those in use, and those that answer challenges.
//! * [`watch`]: files that are read again when they change; a pair that is no good changes nothing.
//! * [`redirect`]: what a plain port answers beside it. [`TlsMetrics`]: when the certificate expires.

mod certificates;
mod metrics;
mod pair;
pub mod redirect;
pub mod watch;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use certificates::Certificates;
pub use metrics::TlsMetrics;
pub use pair::{CertificatePair, PairError};

/// What a server says with ALPN while it proves that it has a name: RFC 8737.
pub const ACME_ALPN: &[u8] = b"acme-tls/1";

/// How a server speaks TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
}

impl Tls {
    /// TLS 1.2 and 1.3 with these certificates, whichever they are at the moment of a handshake. Without any, handshakes
    /// fail.
    ///
    /// # Errors
    /// If the cryptography that is compiled in lacks one of the two versions.
    pub fn new(certificates: Arc<Certificates>) -> Result<Self, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificates);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), ACME_ALPN.to_vec()];
        Ok(Self { config: Arc::new(config) })
    }

    /// Shakes hands. `None`: somebody only wanted to see a challenge's certificate.
    pub(super) async fn accept<S>(&self, stream: S) -> std::io::Result<Option<TlsStream<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsAcceptor::from(Arc::clone(&self.config)).accept(stream).await?;
        let challenge = stream.get_ref().1.alpn_protocol() == Some(ACME_ALPN);
        Ok((!challenge).then_some(stream))
    }
}
