//! S3, and what speaks its protocol.

use std::ffi::OsString;
use std::sync::Arc;

use llmo_core::store::{Result, StoreError};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::prefix::PrefixStore;

use super::ObjectStoreBackend;

/// Which bucket, where. Keys come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, or a role of the
/// machine) or from files that it names (`AWS_ACCESS_KEY_ID_FILE`, …), never from a configuration file. A variable that is
/// set and not empty goes before its file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct S3Options {
    /// The bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// Where it is if not at the cloud provider, as in `http://127.0.0.1:9000`.
    pub endpoint: Option<String>,
    /// Put before every path.
    pub prefix: Option<String>,
}

impl ObjectStoreBackend {
    /// A bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// [`StoreError::Permission`] if a file that is to hold a key can't be read, or is empty; [`StoreError::Unavailable`] if
    /// the options can't be.
    pub fn s3(options: &S3Options) -> Result<Self> {
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(&options.bucket).with_region(&options.region);
        for (name, key) in KEYS {
            if let Some(value) = credential(name, |variable| std::env::var_os(variable))? {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        let store = builder.build().map_err(|e| StoreError::Unavailable(format!("S3: {e}")))?;
        Ok(match options.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            Some(prefix) => Self::new(Arc::new(PrefixStore::new(store, Path::from(prefix))), "s3"),
            None => Self::new(Arc::new(store), "s3"),
        })
    }
}

/// What may be in files.
const KEYS: [(&str, AmazonS3ConfigKey); 3] = [
    ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
    ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
];

/// What the variable `name` says, else what is in the file that `name_FILE` names. An empty variable is one that is not
/// set, as compose files have it. A file that is named and can't be read is an error: going on without keys would end in
/// refusals that nobody understands.
fn credential(name: &str, variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<String>> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(value) = set(name) {
        return Ok(Some(value.to_string_lossy().into_owned()));
    }
    let file = format!("{name}_FILE");
    let Some(path) = set(&file) else { return Ok(None) };
    let about = |what: String| StoreError::Permission(format!("{file}={}: {what}", path.to_string_lossy()));
    let text = std::fs::read_to_string(&path).map_err(|error| about(error.to_string()))?;
    match text.trim() {
        "" => Err(about("the file is empty".into())),
        key => Ok(Some(key.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Option<String>> {
        credential("AWS_SECRET_ACCESS_KEY", |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    fn secret(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_key_is_read_from_its_file_without_the_line_s_end() {
        let file = secret("s3cr/et+\n");
        let path = file.path().to_str().unwrap();
        let found = from(&[("AWS_SECRET_ACCESS_KEY", ""), ("AWS_SECRET_ACCESS_KEY_FILE", path)]);
        assert_eq!(found.unwrap().as_deref(), Some("s3cr/et+"));
    }

    #[test]
    fn the_variable_itself_goes_first() {
        let file = secret("of the file");
        let path = file.path().to_str().unwrap();
        let found = from(&[("AWS_SECRET_ACCESS_KEY", "own"), ("AWS_SECRET_ACCESS_KEY_FILE", path)]);
        assert_eq!(found.unwrap().as_deref(), Some("own"));
    }

    #[test]
    fn without_either_the_machine_s_role_decides() {
        assert_eq!(from(&[]).unwrap(), None);
        assert_eq!(from(&[("AWS_SECRET_ACCESS_KEY_FILE", "")]).unwrap(), None);
    }

    #[test]
    fn a_file_that_is_not_there_or_empty_is_an_error_that_names_it() {
        let said = from(&[("AWS_SECRET_ACCESS_KEY_FILE", "/nowhere/key")]).unwrap_err().to_string();
        assert!(said.contains("AWS_SECRET_ACCESS_KEY_FILE=/nowhere/key"), "{said}");
        let file = secret("\n");
        assert!(from(&[("AWS_SECRET_ACCESS_KEY_FILE", file.path().to_str().unwrap())]).is_err());
    }
}
