//! The file of keys: `[[keys]]` with a name, the key's SHA-256, and what the key may do.

use std::path::Path;
use std::time::SystemTime;

use llmo_server::http::RequestId;
use serde::{Deserialize, Serialize};
use toml::value::Datetime;

/// A key, as the file has it. The key itself is not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// What people call it; no other key of the file has this name.
    pub name: String,
    /// Whose requests these are, for queues, limits and caches; otherwise the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// SHA-256 of the key, 64 hexadecimal digits.
    pub sha256: String,
    /// The models that may be asked for, by the names that callers use; `*` stands for any characters. None: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// When the key ends: a day (`2027-01-31`, its beginning) or a time in UTC (`2027-01-31T12:00:00Z`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Datetime>,
}

/// An entry that was found to be good.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedKey {
    /// The SHA-256 of the key.
    pub digest: [u8; 32],
    /// Whose requests these are.
    pub tenant: String,
    /// The models that may be asked for; `None`: all.
    pub models: Option<Vec<String>>,
    /// When the key ends.
    pub expires: Option<SystemTime>,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// The keys.
    #[serde(default)]
    pub keys: Vec<KeyEntry>,
}

/// Reads a file of keys.
///
/// # Errors
/// What is wrong, with the file's name and the place.
pub fn read(path: &Path) -> Result<Vec<CheckedKey>, String> {
    let wrong = |problem: String| format!("{}: {}", path.display(), problem.trim_end());
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(format!("it can't be read: {error}; `llmo key new NAME --file FILE` makes one")))?;
    parse(&text).map_err(wrong)
}

/// Reads the text of a file of keys.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(text: &str) -> Result<Vec<CheckedKey>, String> {
    let file: KeyFile = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut checked: Vec<CheckedKey> = Vec::with_capacity(file.keys.len());
    for (index, entry) in file.keys.iter().enumerate() {
        let wrong = |problem: &str| format!("[[keys]], number {} ({:?}): {problem}", index + 1, entry.name);
        if file.keys[..index].iter().any(|other| other.name == entry.name) {
            return Err(wrong("another key has this name; each needs its own"));
        }
        let key = entry.check().map_err(|problem| wrong(&problem))?;
        if checked.iter().any(|other| other.digest == key.digest) {
            return Err(wrong("another entry has the same sha256; a key belongs to one entry"));
        }
        checked.push(key);
    }
    Ok(checked)
}

impl KeyEntry {
    /// The entry, if all of it makes sense.
    ///
    /// # Errors
    /// What does not. What stands in `sha256` is not repeated: it may be a key that was put there by mistake.
    pub fn check(&self) -> Result<CheckedKey, String> {
        let tenant = self.tenant.as_deref().unwrap_or(&self.name);
        for (field, value) in [("name", self.name.as_str()), ("tenant", tenant)] {
            // It becomes part of logs, cache keys and labels.
            if RequestId::accept(value.as_bytes()).is_none() {
                return Err(format!("{field} must be 1 to 128 letters, digits, or - _ . :"));
            }
        }
        let digest = digest_of(&self.sha256)
            .ok_or("sha256 must be the SHA-256 of the key in 64 hexadecimal digits (printf %s KEY | sha256sum)")?;
        if self.models.as_ref().is_some_and(|models| models.is_empty() || models.iter().any(String::is_empty)) {
            return Err("models must name at least one model; leave it out to allow all".to_owned());
        }
        let expires = self.expires.as_ref().map(moment).transpose()?;
        Ok(CheckedKey { digest, tenant: tenant.to_owned(), models: self.models.clone(), expires })
    }
}

fn digest_of(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(hex, &mut digest).ok().map(|()| digest)
}

fn moment(expires: &Datetime) -> Result<SystemTime, String> {
    let text = match expires.time {
        None => format!("{expires}T00:00:00Z"),
        Some(_) => expires.to_string(),
    };
    humantime::parse_rfc3339(&text)
        .map_err(|_| format!("expires = {expires} must be a day (2027-01-31) or a time in UTC (2027-01-31T12:00:00Z)"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn entry(more: &str) -> String {
        format!("[[keys]]\nname = \"a\"\nsha256 = \"{HASH}\"\n{more}\n")
    }

    #[test]
    fn a_name_and_a_hash_are_enough() {
        let keys = parse(&entry("")).expect("good");
        assert_eq!((keys[0].tenant.as_str(), &keys[0].models, keys[0].expires), ("a", &None, None));
        assert_eq!(hex::encode(keys[0].digest), HASH);
        assert!(parse("").expect("nobody may ask").is_empty());
    }

    #[test]
    fn a_key_ends_at_the_beginning_of_a_day_or_at_a_moment() {
        let day = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        for text in ["1970-01-02", "1970-01-02T00:00:00Z", "1970-01-02 00:00:00Z"] {
            assert_eq!(parse(&entry(&format!("expires = {text}"))).expect(text)[0].expires, Some(day), "{text}");
        }
        for text in ["1970-01-02T00:00:00", "1970-01-02T00:00:00+01:00", "00:00:00"] {
            assert!(parse(&entry(&format!("expires = {text}"))).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_never_repeats_what_may_be_a_key() {
        for (text, words) in [
            ("[[keys]\n".to_owned(), "line 1"),
            (entry("modles = []"), "modles"),
            (entry("") + &entry(""), "number 2"),
            (entry("") + &entry("").replace("\"a\"", "\"b\""), "same sha256"),
            (entry("models = []"), "leave it out"),
            (entry("tenant = \"a b\""), "tenant must be"),
            (entry("").replace("\"a\"", "\"../a\""), "name must be"),
            (entry("").replace(HASH, "sk-oops"), "64 hexadecimal"),
        ] {
            let error = parse(&text).expect_err("wrong");
            assert!(error.contains(words) && !error.contains("sk-oops"), "{error}");
        }
    }
}
