//! The keys that hold now.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::file::{self, CheckedKey};
use crate::routing::Pattern;

/// Where Anthropic's clients put it.
pub(super) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Who has a key.
#[derive(Debug)]
pub struct Holder {
    tenant: HeaderValue,
    models: Option<Vec<Pattern>>,
    expires: Option<SystemTime>,
}

/// Keys by their hashes. A request reads it without a lock; a new file replaces it whole.
#[derive(Debug)]
pub struct KeyRing {
    path: PathBuf,
    held: ArcSwap<Held>,
}

#[derive(Debug)]
struct Held {
    /// What the file said: two that say the same are no change.
    keys: Vec<CheckedKey>,
    by_digest: HashMap<[u8; 32], Arc<Holder>>,
}

impl Holder {
    /// The tenant, as a header says it.
    #[must_use]
    pub fn tenant(&self) -> &HeaderValue {
        &self.tenant
    }

    /// May only some models be asked for?
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        self.models.is_some()
    }

    /// May the model of this name be asked for?
    #[must_use]
    pub fn may_use(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.iter().any(|pattern| pattern.matches(model)))
    }
}

impl KeyRing {
    /// The keys of a file.
    ///
    /// # Errors
    /// What is wrong with the file: a gateway that should have keys does not start without them.
    pub fn open(path: &Path) -> Result<Self, String> {
        let held = Held::new(file::read(path)?)?;
        Ok(Self { path: path.to_owned(), held: ArcSwap::from_pointee(held) })
    }

    /// Reads the file again; returns whether it says something else now.
    ///
    /// # Errors
    /// What is wrong with it. The old keys stay.
    pub fn reload(&self) -> Result<bool, String> {
        let keys = file::read(&self.path)?;
        if self.held.load().keys == keys {
            return Ok(false);
        }
        let count = keys.len();
        self.held.store(Arc::new(Held::new(keys)?));
        tracing::info!(file = %self.path.display(), keys = count, "new API keys hold");
        Ok(true)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who has the key that these headers carry. The work is the same whether there is none, an unknown one, or one that
    /// has expired; the look-up is by hash, so its time tells nothing of keys.
    #[must_use]
    pub fn holder(&self, headers: &HeaderMap, now: SystemTime) -> Option<Arc<Holder>> {
        let digest: [u8; 32] = Sha256::digest(key(headers).unwrap_or_default()).into();
        let holder = self.held.load().by_digest.get(&digest).cloned()?;
        holder.expires.is_none_or(|end| now < end).then_some(holder)
    }
}

impl Held {
    fn new(keys: Vec<CheckedKey>) -> Result<Self, String> {
        let mut by_digest = HashMap::with_capacity(keys.len());
        for key in &keys {
            let tenant = HeaderValue::from_str(&key.tenant).map_err(|_| format!("{:?} is no tenant", key.tenant))?;
            let models = key.models.as_ref().map(|models| models.iter().map(|model| Pattern::new(model)).collect());
            by_digest.insert(key.digest, Arc::new(Holder { tenant, models, expires: key.expires }));
        }
        Ok(Self { keys, by_digest })
    }
}

/// `Authorization: Bearer`, else `x-api-key`.
fn key(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).and_then(|value| {
        let (scheme, key) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key.trim_ascii())
    });
    bearer.or_else(|| headers.get(X_API_KEY).map(HeaderValue::as_bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ring(more: &str) -> (KeyRing, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("keys.toml");
        std::fs::write(&file, entry("sk-secret", more)).expect("a file");
        (KeyRing::open(&file).expect("good"), dir)
    }

    fn entry(key: &str, more: &str) -> String {
        format!("[[keys]]\nname = \"a\"\nsha256 = \"{}\"\n{more}\n", hex::encode(Sha256::digest(key)))
    }

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        [(HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect()
    }

    #[test]
    fn a_key_is_found_in_either_header_and_nothing_else_is_one() {
        let (ring, _dir) = ring("");
        let finds = |headers: &HeaderMap| ring.holder(headers, SystemTime::now()).is_some();
        assert!(finds(&with("authorization", "Bearer sk-secret")));
        assert!(finds(&with("authorization", "bearer  sk-secret")));
        assert!(finds(&with("x-api-key", "sk-secret")));
        for (name, value) in [
            ("authorization", "Basic sk-secret"),
            ("authorization", "sk-secret"),
            ("authorization", "Bearer"),
            ("x-api-key", "sk-secre"),
            ("x-api-key", ""),
        ] {
            assert!(!finds(&with(name, value)), "{name}: {value}");
        }
        assert!(!finds(&HeaderMap::new()));
    }

    #[test]
    fn a_key_holds_until_it_expires() {
        let (ring, _dir) = ring("expires = 2027-01-01");
        let end = humantime::parse_rfc3339("2027-01-01T00:00:00Z").expect("a time");
        let headers = with("x-api-key", "sk-secret");
        assert!(ring.holder(&headers, end - Duration::from_secs(1)).is_some());
        assert!(ring.holder(&headers, end).is_none());
    }

    #[test]
    fn models_are_allowed_by_name_or_pattern() {
        let (ring, _dir) = ring("models = [\"smollm2-135m\", \"qwen*\"]");
        let holder = ring.holder(&with("x-api-key", "sk-secret"), SystemTime::now()).expect("it holds");
        assert!(holder.is_restricted());
        for (model, may) in [("smollm2-135m", true), ("smollm2-135m:sql", false), ("qwen3-8b", true), ("", false)] {
            assert_eq!(holder.may_use(model), may, "{model:?}");
        }
    }

    #[test]
    fn a_bad_file_changes_nothing_and_a_good_one_everything() {
        let (ring, dir) = ring("");
        let path = dir.path().join("keys.toml");
        let headers = with("x-api-key", "sk-secret");
        std::fs::write(&path, "[[keys]]\nname = 1\n").expect("a file");
        assert!(ring.reload().expect_err("bad").contains("keys.toml"));
        assert!(ring.holder(&headers, SystemTime::now()).is_some());
        std::fs::write(&path, entry("sk-other", "")).expect("a file");
        assert_eq!(ring.reload(), Ok(true));
        assert_eq!(ring.reload(), Ok(false));
        assert!(ring.holder(&headers, SystemTime::now()).is_none());
    }
}
