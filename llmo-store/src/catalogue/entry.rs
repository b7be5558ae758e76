//! One model of the catalogue: its files, pinned by their hashes, and where they can be had.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A model known by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CatalogueEntry {
    /// Its name, and its directory in a store.
    pub id: String,
    /// Other names for it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What it is, for people.
    #[serde(default)]
    pub title: String,
    /// What it does.
    pub task: Task,
    /// How its weights are stored.
    pub weights: WeightsFormat,
    /// SPDX identifier of its license.
    #[serde(default)]
    pub license: String,
    /// What has to be fetched.
    #[serde(rename = "file")]
    pub files: Vec<CatalogueFile>,
    /// Where it can be had, the best first.
    #[serde(default, rename = "source")]
    pub sources: Vec<SourceEntry>,
}

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Task {
    /// Writes text.
    Generate,
    /// Turns text into vectors.
    Embed,
}

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WeightsFormat {
    /// One GGUF file with everything in it.
    Gguf,
    /// Safetensors, with a tokenizer and a configuration beside them.
    Safetensors,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CatalogueFile {
    /// Its path below the model's directory in a store.
    pub name: String,
    /// Bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// sha256 in lower-case hexadecimal. A file without one is *unpinned*: it is fetched only if the user asked for
    /// that (see [`PullOptions::allow_unpinned`](crate::pull::PullOptions)), over a connection that is itself
    /// authenticated, and its header is checked like any other's.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// Where the files of a model can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum SourceEntry {
    /// A repository of a model hub.
    Hub {
        /// `owner/name`.
        repo: String,
        /// Branch, tag or commit.
        #[serde(default = "main_branch")]
        revision: String,
        /// Path in the repository for each file; a file that isn't named here has its own name there.
        #[serde(default)]
        files: BTreeMap<String, String>,
    },
    /// A wheel of the package registry.
    Registry {
        /// Name of the package.
        package: String,
        /// Its version.
        version: String,
        /// Put before the name of a file to get its path in the wheel.
        #[serde(default)]
        prefix: String,
        /// Path in the wheel for each file that isn't at `prefix` + its name.
        #[serde(default)]
        files: BTreeMap<String, String>,
    },
}

fn main_branch() -> String {
    "main".to_owned()
}

impl SourceEntry {
    /// Where `file` lies in this source.
    #[must_use]
    pub fn location(&self, file: &str) -> String {
        match self {
            Self::Hub { files, .. } => files.get(file).cloned().unwrap_or_else(|| file.to_owned()),
            Self::Registry { files, prefix, .. } => {
                files.get(file).cloned().unwrap_or_else(|| format!("{prefix}{file}"))
            }
        }
    }
}
