//! One certificate.

use std::time::Duration;

use instant_acme::{Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, OrderStatus, RetryPolicy};
use llmo_server::http::tls::redirect::HttpChallenges;
use llmo_server::http::tls::{CertificatePair, Certificates};
use rcgen::{CertificateParams, CustomExtension, KeyPair};

use super::AcmeError;

/// Longest wait for the authority to look, and to make the certificate.
const PATIENCE: Duration = Duration::from_secs(90);

/// A certificate chain and its key, in PEM form.
pub(super) struct Issued {
    pub(super) chain: String,
    pub(super) key: String,
}

/// How it is shown that a name is ours.
pub(super) struct Proof<'a> {
    pub(super) http: Option<&'a HttpChallenges>,
    pub(super) certificates: &'a Certificates,
}

/// Orders a certificate for `domains`, shows that they are ours, and waits for it.
pub(super) async fn issue(account: &Account, domains: &[String], proof: &Proof<'_>) -> Result<Issued, AcmeError> {
    let mut shown = Shown { proof, tokens: Vec::new(), names: Vec::new() };
    let names: Vec<_> = domains.iter().map(|name| Identifier::Dns(name.clone())).collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let (kind, wanted, cure) = match proof.http {
            Some(_) => (ChallengeType::Http01, "http-01", "set tls.redirect_port = 0 to go without"),
            None => (ChallengeType::TlsAlpn01, "tls-alpn-01", "set tls.redirect_port to answer over plain HTTP"),
        };
        let Some(mut challenge) = authorization.challenge(kind) else {
            return Err(AcmeError::NoChallenge { name, wanted, cure });
        };
        let answer = challenge.key_authorization();
        match proof.http {
            Some(http) => {
                http.put(&challenge.token, answer.as_str());
                shown.tokens.push(challenge.token.clone());
            }
            None => {
                proof.certificates.challenge(&name, challenge_pair(&name, answer.digest().as_ref())?);
                shown.names.push(name);
            }
        }
        challenge.set_ready().await?;
    }
    let patience = RetryPolicy::new().timeout(PATIENCE);
    if order.poll_ready(&patience).await? != OrderStatus::Ready {
        return Err(AcmeError::NotProven { names: domains.join(", ") });
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&patience).await?;
    Ok(Issued { chain, key })
}

/// Answers that are taken away again, however the order ends.
struct Shown<'a> {
    proof: &'a Proof<'a>,
    tokens: Vec<String>,
    names: Vec<String>,
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        for token in &self.tokens {
            self.proof.http.inspect(|http| http.remove(token));
        }
        for name in &self.names {
            self.proof.certificates.challenge_over(name);
        }
    }
}

/// The certificate that shows a name to be ours within TLS: self-signed, with the answer in an extension.
fn challenge_pair(name: &str, digest: &[u8]) -> Result<CertificatePair, AcmeError> {
    let unusable = |error: &dyn std::fmt::Display| AcmeError::Unusable(error.to_string());
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(|error| unusable(&error))?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(|error| unusable(&error))?;
    let certificate = params.self_signed(&key).map_err(|error| unusable(&error))?;
    CertificatePair::challenge(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())
        .map_err(|error| unusable(&error))
}
