//! Has a certificate made, and made anew before it expires.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::{Account, AccountCredentials, NewAccount};
use llmo_config::TlsConfig;
use llmo_server::http::tls::redirect::HttpChallenges;
use llmo_server::http::tls::{CertificatePair, Certificates};

use super::AcmeError;
use super::order::{self, Proof};
use super::shelf::Shelf;

const ACCOUNT: &str = "account.json";
const CHAIN: &str = "cert.pem";
const KEY: &str = "key.pem";
/// Names that the certificate on the shelf is for, and the authority that made it.
const NAMES: &str = "names.txt";
/// Wait after a failure; it doubles up to the second. Authorities count failures.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// Longest sleep: clocks jump.
const NAP: Duration = Duration::from_secs(3600);

/// Keeps a certificate.
#[derive(Debug)]
pub struct Keeper {
    config: TlsConfig,
    shelf: Shelf,
    certificates: Arc<Certificates>,
    http: Option<HttpChallenges>,
}

impl Keeper {
    /// A keeper that installs into `certificates`, first of all what it finds on disk. With `http`, names are shown to be ours
    /// over plain HTTP.
    ///
    /// # Errors
    /// [`AcmeError::TermsNotAgreed`], [`AcmeError::Disk`].
    pub fn new(
        config: &TlsConfig,
        certificates: Arc<Certificates>,
        http: Option<HttpChallenges>,
    ) -> Result<Self, AcmeError> {
        if !config.acme_terms_agreed {
            return Err(AcmeError::TermsNotAgreed);
        }
        let shelf = Shelf::open(&config.acme_directory_on_disk())?;
        let keeper = Self { config: config.clone(), shelf, certificates, http };
        if let Some(pair) = keeper.on_disk() {
            keeper.certificates.install(pair);
        }
        Ok(keeper)
    }

    /// Keeps it, for ever. What fails is tried again after a growing pause; the certificate in use stays.
    pub async fn keep(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let wait =
                self.certificates.installed().map_or(Duration::ZERO, |pair| until_renewal(&pair, SystemTime::now()));
            if !wait.is_zero() {
                tokio::time::sleep(wait.min(NAP)).await;
                continue;
            }
            match self.renew().await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) => {
                    self.certificates.refused();
                    tracing::error!(%error, seconds = pause.as_secs(), "no certificate; it will be tried again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Gets one certificate, keeps it on disk and takes it into use.
    ///
    /// # Errors
    /// [`AcmeError`].
    pub async fn renew(&self) -> Result<(), AcmeError> {
        let account = self.account().await?;
        let proof = Proof { http: self.http.as_ref(), certificates: &self.certificates };
        let issued = order::issue(&account, &self.config.acme_domains, &proof).await?;
        let pair = CertificatePair::from_pem(issued.chain.as_bytes(), issued.key.as_bytes(), SystemTime::now())
            .map_err(|error| AcmeError::Unusable(error.to_string()))?;
        self.shelf.write(KEY, issued.key.as_bytes())?;
        self.shelf.write(CHAIN, issued.chain.as_bytes())?;
        self.shelf.write(NAMES, self.names().as_bytes())?;
        self.certificates.install(pair);
        tracing::info!(domains = ?self.config.acme_domains, "a new certificate is in use");
        Ok(())
    }

    /// What is on disk, if it is for these names, from this authority, and not over. A pair whose writing was interrupted
    /// does not fit together, and is none.
    fn on_disk(&self) -> Option<CertificatePair> {
        let names = self.shelf.read(NAMES)?;
        if names != self.names().as_bytes() {
            return None;
        }
        CertificatePair::from_pem(&self.shelf.read(CHAIN)?, &self.shelf.read(KEY)?, SystemTime::now()).ok()
    }

    fn names(&self) -> String {
        format!("{}\n{}\n", self.config.acme_directory, self.config.acme_domains.join("\n"))
    }

    /// The account on disk if it is at this authority, else a new one.
    async fn account(&self) -> Result<Account, AcmeError> {
        let builder = || {
            if self.config.acme_root.as_os_str().is_empty() {
                Account::builder()
            } else {
                Account::builder_with_root(&self.config.acme_root)
            }
        };
        let name = format!("{ACCOUNT}.{:016x}", fingerprint(&self.config.acme_directory));
        let known = self.shelf.read(&name).and_then(|bytes| serde_json::from_slice::<AccountCredentials>(&bytes).ok());
        if let Some(credentials) = known {
            match builder()?.from_credentials(credentials).await {
                Ok(account) => return Ok(account),
                Err(error) => tracing::warn!(%error, "the account on disk can't be used; a new one is made"),
            }
        }
        let contact: Vec<&str> = self.config.acme_contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: self.config.acme_terms_agreed,
            only_return_existing: false,
        };
        let (account, credentials) = builder()?.create(&new, self.config.acme_directory.clone(), None).await?;
        let bytes = serde_json::to_vec(&credentials).map_err(|error| AcmeError::Authority(error.to_string()))?;
        self.shelf.write(&name, &bytes)?;
        Ok(account)
    }
}

/// FNV-1a: the same on every machine, and only a file's name.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Time until two thirds of a certificate's own time are over: thirty days before the end of one of ninety, as authorities
/// advise, and in proportion for shorter ones.
fn until_renewal(pair: &CertificatePair, now: SystemTime) -> Duration {
    let renewal = pair.not_after() - pair.lifetime() / 3;
    renewal.duration_since(now).unwrap_or_default()
}
