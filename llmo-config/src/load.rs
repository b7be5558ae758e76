//! Reading the configuration from its places.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::layers::Layers;
use crate::spec_env::{SPEC_VARIABLES, key_of};
use crate::{Config, ConfigError, Origin};

/// Says what to read. Without anything set it reads nothing but defaults; [`Loader::from_process`] reads all places.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Loader {
    presets: Vec<String>,
    file: Option<PathBuf>,
    dot_env: Option<PathBuf>,
    environment: BTreeMap<String, String>,
    flags: Vec<String>,
}

/// A configuration, and where each value of it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    layers: Layers,
    loader: Loader,
}

impl Loader {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads this process's environment, `.env` in the working directory, and the first of `LLMO_CONFIG`,
    /// `./llmo.toml`, `$XDG_CONFIG_HOME/llmo/llmo.toml`, `~/.config/llmo/llmo.toml`, `/etc/llmo/llmo.toml` that exists.
    pub fn from_process() -> Self {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let file = usual_file(&environment);
        Self { file, dot_env: Some(PathBuf::from(".env")), environment, ..Self::default() }
    }

    /// Reads this file instead of the usual ones. It must exist.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Reads this `.env` file if it exists.
    pub fn dot_env(mut self, path: impl Into<PathBuf>) -> Self {
        self.dot_env = Some(path.into());
        self
    }

    /// Reads these variables.
    pub fn environment<K: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.environment.extend(variables.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }

    /// Puts `section.key=value` under everything but the built-in defaults: how a way of running the stack (services
    /// on a host, containers) says what it usually wants, without overriding what the user said anywhere.
    pub fn preset(mut self, assignment: impl Into<String>) -> Self {
        self.presets.push(assignment.into());
        self
    }

    /// Puts `section.key=value` on top of everything.
    pub fn set(mut self, assignment: impl Into<String>) -> Self {
        self.flags.push(assignment.into());
        self
    }

    /// Several presets and several flags at once, as a command line has them.
    pub fn assign(mut self, presets: &[String], flags: &[String]) -> Self {
        self.presets.extend_from_slice(presets);
        self.flags.extend_from_slice(flags);
        self
    }

    /// Reads everything.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place: see [`ConfigError`].
    pub fn load(self) -> Result<Loaded, ConfigError> {
        let loader = self.clone();
        let mut layers = Layers::defaults();
        put_assignments(&mut layers, &self.presets, |text| Origin::Preset(text.to_owned()))?;
        if let Some(path) = &self.file {
            read_file(&mut layers, path)?;
        }
        if let Some(path) = &self.dot_env {
            read_dot_env(&mut layers, path)?;
        }
        read_variables(&mut layers, &self.environment, |name| Origin::Environment(name.to_owned()))?;
        put_assignments(&mut layers, &self.flags, |text| Origin::Flag(format!("--set {text}")))?;
        Ok(Loaded { config: layers.config()?, file: self.file, layers, loader })
    }
}

impl Loaded {
    /// Reads everything again, from the same places; the environment and the flags are those of the first time.
    ///
    /// # Errors
    /// As for [`Loader::load`].
    pub fn reload(&self) -> Result<Self, ConfigError> {
        self.loader.clone().load()
    }

    /// Every setting: dotted key, value, origin; ordered by key.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &Value, &Origin)> {
        self.layers.iter().map(|(key, setting)| (key, &setting.value, &setting.origin))
    }

    /// Where a setting's value came from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.layers.iter().find(|(k, _)| *k == key).map(|(_, setting)| &setting.origin)
    }
}

fn put_assignments(
    layers: &mut Layers,
    assignments: &[String],
    origin: impl Fn(&str) -> Origin,
) -> Result<(), ConfigError> {
    for assignment in assignments {
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(ConfigError::InvalidFlag(assignment.clone()));
        };
        layers.set_text(key.trim(), value, origin(assignment))?;
    }
    Ok(())
}

fn usual_file(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    if let Some(path) = environment.get("LLMO_CONFIG").filter(|p| !p.is_empty()) {
        return Some(PathBuf::from(path));
    }
    let xdg = environment.get("XDG_CONFIG_HOME").filter(|p| !p.is_empty()).map(|d| Path::new(d).join("llmo/llmo.toml"));
    let home = environment.get("HOME").map(|d| Path::new(d).join(".config/llmo/llmo.toml"));
    [Some(PathBuf::from("llmo.toml")), xdg, home, Some(PathBuf::from("/etc/llmo/llmo.toml"))]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
}

fn read_file(layers: &mut Layers, path: &Path) -> Result<(), ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    })?;
    let origin = Origin::File(path.to_owned());
    for (section, fields) in table {
        if fields.is_array() {
            let list = serde_json::to_value(&fields).unwrap_or_default();
            layers.set_list(&section, list, origin.clone())?;
            continue;
        }
        let toml::Value::Table(fields) = fields else {
            return Err(ConfigError::UnknownKey { key: section, origin, suggestion: None });
        };
        for (key, value) in fields {
            let key = format!("{section}.{key}");
            let value = serde_json::to_value(&value).map_err(|error| ConfigError::InvalidValue {
                key: key.clone(),
                value: value.to_string(),
                origin: origin.clone(),
                message: error.to_string(),
            })?;
            layers.set(&key, value, origin.clone())?;
        }
    }
    Ok(())
}

fn read_dot_env(layers: &mut Layers, path: &Path) -> Result<(), ConfigError> {
    if !path.is_file() {
        return Ok(());
    }
    let syntax = |error: dotenvy::Error| ConfigError::Syntax { path: path.to_owned(), message: error.to_string() };
    let variables =
        dotenvy::from_path_iter(path).map_err(syntax)?.collect::<Result<BTreeMap<_, _>, _>>().map_err(syntax)?;
    read_variables(layers, &variables, |name| Origin::DotEnv { file: path.to_owned(), variable: name.to_owned() })
}

fn read_variables(
    layers: &mut Layers,
    variables: &BTreeMap<String, String>,
    origin: impl Fn(&str) -> Origin,
) -> Result<(), ConfigError> {
    // The specification's own names first, so that LLMO_SECTION__KEY overrides them.
    let spec =
        |name: &str| SPEC_VARIABLES.iter().any(|(known, _)| *known == name.strip_suffix("_FILE").unwrap_or(name));
    let (first, second): (Vec<_>, Vec<_>) = variables.iter().partition(|(name, _)| spec(name));
    for (name, value) in first.into_iter().chain(second) {
        let Some(key) = key_of(name).filter(|key| layers.knows(key)) else {
            read_secret(layers, name, value, &origin)?;
            continue;
        };
        layers.set_text(&key, value, origin(name))?;
    }
    Ok(())
}

/// `REDIS_URL_FILE=/run/secrets/redis_url`: the value of `REDIS_URL` is what that file holds, as containers get secrets.
/// Of variables that name no setting, those that seem meant for one are refused.
fn read_secret(
    layers: &mut Layers,
    name: &str,
    path: &str,
    origin: &impl Fn(&str) -> Origin,
) -> Result<(), ConfigError> {
    match name.strip_suffix("_FILE").and_then(key_of).filter(|key| layers.knows(key)) {
        Some(_) if path.trim().is_empty() => Ok(()),
        Some(key) => {
            let path = PathBuf::from(path.trim());
            let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable { path, source })?;
            layers.set_text(&key, text.trim_end_matches(['\r', '\n']), origin(name))
        }
        None => key_of(name).map_or(Ok(()), |key| layers.set_text(&key, path, origin(name))),
    }
}
