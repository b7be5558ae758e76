//! Certificates from an authority that speaks ACME (RFC 8555), such as Let's Encrypt.
//!
//! * [`Keeper`]: has a certificate made, and made anew when two thirds of its time are over.
//! * `order`: one certificate. `shelf`: account, key and certificate on disk.
//!
//! That a name is ours is shown over plain HTTP (`http-01`) if the gateway has a plain port, else within TLS
//! (`tls-alpn-01`, RFC 8737).

mod keeper;
mod order;
mod shelf;

pub use keeper::Keeper;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcmeError {
    /// Nobody has agreed to the authority's terms.
    #[error("an account needs the agreement to the authority's terms of service: set tls.acme_terms_agreed = true")]
    TermsNotAgreed,
    /// The authority said no, or could not be reached.
    #[error("the authority: {0}")]
    Authority(String),
    /// The authority offers no way to show that a name is ours that we can go.
    #[error("the authority offers no {wanted} for {name}; {cure}")]
    NoChallenge {
        /// The name.
        name: String,
        /// What we could do.
        wanted: &'static str,
        /// What else there is.
        cure: &'static str,
    },
    /// The authority did not believe that the names are ours.
    #[error("the authority could not see that {names} lead here; is this gateway reachable under them?")]
    NotProven {
        /// The names.
        names: String,
    },
    /// What came is no certificate that can be used.
    #[error("the certificate that came can't be used: {0}")]
    Unusable(String),
    /// Files can't be read or written.
    #[error("{path}: {source}")]
    Disk {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<instant_acme::Error> for AcmeError {
    fn from(error: instant_acme::Error) -> Self {
        Self::Authority(error.to_string())
    }
}
