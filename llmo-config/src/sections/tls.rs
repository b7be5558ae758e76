//! TLS at the gateway.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::state_directory;

/// TLS at the gateway's port. On as soon as there is a certificate: files, or names for which one is to be had by ACME.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// File with the certificate chain, in PEM form. It is read again when it changes.
    pub cert: PathBuf,
    /// File with its private key, in PEM form.
    pub key: PathBuf,
    /// Time between two looks at these files.
    pub reload_interval_ms: u64,
    /// A plain port that sends everybody to the port with TLS, and answers challenges of certificate authorities; 0: none.
    pub redirect_port: u16,
    /// Names to get a certificate for from a certificate authority that speaks ACME. The authority must reach this gateway
    /// under them: at port 80, if there is a `redirect_port`, else at port 443.
    pub acme_domains: Vec<String>,
    /// The authority's directory.
    pub acme_directory: String,
    /// Where the authority writes before a certificate expires, e.g. `mailto:ops@example.org`.
    pub acme_contact: Vec<String>,
    /// You have read the authority's terms of service and agree. Without it no account is made.
    pub acme_terms_agreed: bool,
    /// Where account, key and certificate are kept; empty: `llmo/acme` in the user's state directory.
    pub acme_dir: PathBuf,
    /// File with the root certificate of an authority that this machine does not know, for tests.
    pub acme_root: PathBuf,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            cert: PathBuf::new(),
            key: PathBuf::new(),
            reload_interval_ms: 2_000,
            redirect_port: 0,
            acme_domains: Vec::new(),
            acme_directory: "https://acme-v02.api.letsencrypt.org/directory".into(),
            acme_contact: Vec::new(),
            acme_terms_agreed: false,
            acme_dir: PathBuf::new(),
            acme_root: PathBuf::new(),
        }
    }
}

impl TlsConfig {
    /// Is TLS wanted?
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.cert.as_os_str().is_empty() || !self.key.as_os_str().is_empty() || !self.acme_domains.is_empty()
    }

    /// Where account, key and certificate are kept.
    #[must_use]
    pub fn acme_directory_on_disk(&self) -> PathBuf {
        if self.acme_dir.as_os_str().is_empty() { state_directory().join("llmo/acme") } else { self.acme_dir.clone() }
    }
}
