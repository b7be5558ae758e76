//! A certificate chain and its private key.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a certificate and a key can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// A file can't be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is no certificate in the text.
    #[error("{from} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")]
    NoCertificate {
        /// Where the text is from.
        from: String,
    },
    /// There is no key in the text.
    #[error("{from} holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)")]
    NoKey {
        /// Where the text is from.
        from: String,
    },
    /// What is in the text is no certificate or no key that can be used.
    #[error("the certificate or its key can't be used: {0}")]
    Unusable(String),
    /// The key belongs to another certificate.
    #[error("the private key is not that of the certificate; both must come from the same request")]
    Mismatch,
    /// The certificate's time is over.
    #[error("the certificate has expired; renew it")]
    Expired,
}

/// A certificate chain and its key, which fit together.
#[derive(Debug, Clone)]
pub struct CertificatePair {
    key: Arc<CertifiedKey>,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl CertificatePair {
    /// Reads two files.
    ///
    /// # Errors
    /// [`PairError`].
    pub fn read(cert: &Path, key: &Path, now: SystemTime) -> Result<Self, PairError> {
        let read =
            |path: &Path| std::fs::read(path).map_err(|source| PairError::Unreadable { path: path.to_owned(), source });
        Self::from_named(&read(cert)?, &read(key)?, (&cert.display(), &key.display()), now)
    }

    /// From two texts in PEM form.
    ///
    /// # Errors
    /// [`PairError`].
    pub fn from_pem(cert: &[u8], key: &[u8], now: SystemTime) -> Result<Self, PairError> {
        Self::from_named(cert, key, (&"the certificate", &"the key"), now)
    }

    fn from_named(
        cert: &[u8],
        key: &[u8],
        (cert_name, key_name): (&dyn std::fmt::Display, &dyn std::fmt::Display),
        now: SystemTime,
    ) -> Result<Self, PairError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(cert)
            .collect::<Result<_, _>>()
            .map_err(|_| PairError::NoCertificate { from: cert_name.to_string() })?;
        let Some(first) = chain.first() else {
            return Err(PairError::NoCertificate { from: cert_name.to_string() });
        };
        let private =
            PrivateKeyDer::from_pem_slice(key).map_err(|_| PairError::NoKey { from: key_name.to_string() })?;
        let (_, parsed) = X509Certificate::from_der(first).map_err(|error| PairError::Unusable(error.to_string()))?;
        let (not_before, not_after) =
            (time(parsed.validity.not_before.timestamp()), time(parsed.validity.not_after.timestamp()));
        if not_after <= now {
            return Err(PairError::Expired);
        }
        let provider = aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(chain, private, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => PairError::Mismatch,
            other => PairError::Unusable(other.to_string()),
        })?;
        Ok(Self { key: Arc::new(key), not_before, not_after })
    }

    /// A self-signed certificate that answers a challenge, and its key, in PEM form. It holds an extension that is critical and
    /// that no verifier but the authority's knows, so that it can't be checked here.
    ///
    /// # Errors
    /// [`PairError`].
    pub fn challenge(cert: &[u8], key: &[u8]) -> Result<Self, PairError> {
        let unusable = |error: &dyn std::fmt::Display| PairError::Unusable(error.to_string());
        let cert = CertificateDer::from_pem_slice(cert).map_err(|error| unusable(&error))?;
        let private = PrivateKeyDer::from_pem_slice(key).map_err(|error| unusable(&error))?;
        let signing = aws_lc_rs::sign::any_supported_type(&private).map_err(|error| unusable(&error))?;
        let key = Arc::new(CertifiedKey::new(vec![cert], signing));
        Ok(Self { key, not_before: SystemTime::UNIX_EPOCH, not_after: SystemTime::UNIX_EPOCH })
    }

    /// Until when it can be used.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// For how long it was made.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.not_after.duration_since(self.not_before).unwrap_or_default()
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

fn time(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
