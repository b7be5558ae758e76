//! Making a key, and putting its entry into the file.

use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::file::{self, KeyEntry, KeyFile};

/// What every key begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "sk-llmo-";
/// Random bytes of a key.
const BYTES: usize = 32;

/// A new key. Nobody knows it but whoever is given this.
///
/// # Errors
/// If the system has no randomness to give.
pub fn key() -> io::Result<String> {
    let mut random = [0; BYTES];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{PREFIX}{}", hex::encode(random)))
}

/// The entry of a key, to be completed with what it may do.
#[must_use]
pub fn entry(name: &str, key: &str) -> KeyEntry {
    let sha256 = hex::encode(Sha256::digest(key));
    KeyEntry { name: name.to_owned(), tenant: None, sha256, models: None, expires: None }
}

/// The entry as text of the file.
///
/// # Errors
/// If it can't be written as TOML.
pub fn text(entry: &KeyEntry) -> Result<String, String> {
    toml::to_string(&KeyFile { keys: vec![entry.clone()] }).map_err(|error| error.to_string())
}

/// Adds an entry to a file, which is made if it does not exist. What the file holds otherwise stays as it is, and nobody ever
/// reads half of it.
///
/// # Errors
/// What is wrong with the entry, or with the file as it would be; nothing has changed then.
pub fn add(path: &Path, entry: &KeyEntry) -> Result<(), String> {
    let wrong = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let mut whole = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(wrong(&format_args!("it can't be read: {error}"))),
    };
    if !whole.is_empty() {
        whole.push_str(if whole.ends_with('\n') { "\n" } else { "\n\n" });
    }
    whole.push_str(&text(entry)?);
    file::parse(&whole).map_err(|problem| wrong(&problem.trim_end()))?;
    replace(path, whole.as_bytes()).map_err(|error| wrong(&format_args!("it can't be written: {error}")))
}

/// Puts a new file in the place of the old one, with the old one's permissions.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Through a link it is the file behind it that changes.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let written = (|| {
        let mut file = std::fs::File::create_new(&new)?;
        if let Ok(old) = std::fs::metadata(&path) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)
    })();
    if written.is_err() {
        // Best effort: the error that matters is the first one.
        let _ = std::fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_and_never_the_same() {
        let (one, other) = (key().expect("randomness"), key().expect("randomness"));
        assert!(one.starts_with(PREFIX) && one.len() == PREFIX.len() + 2 * BYTES && one != other);
    }

    #[test]
    fn an_entry_is_added_and_the_rest_of_the_file_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("keys.toml");
        add(&path, &entry("first", "sk-1")).expect("a new file");
        let commented = format!("# ours\n{}", std::fs::read_to_string(&path).expect("there").trim_end());
        std::fs::write(&path, &commented).expect("a file");
        let mut second = entry("second", "sk-2");
        second.models = Some(vec!["m".into()]);
        add(&path, &second).expect("another");
        let whole = std::fs::read_to_string(&path).expect("there");
        assert!(whole.starts_with(&commented), "{whole}");
        assert_eq!(file::parse(&whole).expect("good").len(), 2);
        assert!(!whole.contains("sk-1") && !whole.contains("sk-2"));
        assert!(add(&path, &entry("second", "sk-3")).expect_err("the name is taken").contains("name"));
        assert_eq!(std::fs::read_to_string(&path).expect("there"), whole);
        assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 1, "nothing is left behind");
    }
}
