//! `llmo config`: check, print with origins, get one.

use llmo_config::{Loaded, Origin};
use serde_json::{Value, json};

use crate::cli::ConfigAction;
use crate::error::{CliError, Result};

pub(crate) fn run(action: &ConfigAction, loaded: &Loaded) -> Result {
    match action {
        ConfigAction::Check => check(loaded),
        ConfigAction::Print { json, changed } => print(loaded, *json, *changed),
        ConfigAction::Get { key } => get(loaded, key)?,
    }
    Ok(())
}

fn check(loaded: &Loaded) {
    match &loaded.file {
        Some(file) => say!("the configuration is fine (file: {})", file.display()),
        None => say!("the configuration is fine (no file: defaults and environment)"),
    }
}

fn print(loaded: &Loaded, as_json: bool, changed: bool) {
    let settings = loaded.settings().filter(|(_, _, origin)| !changed || **origin != Origin::Default);
    if as_json {
        let entries: serde_json::Map<_, _> = settings
            .map(|(key, value, origin)| (key.to_owned(), json!({"value": value, "origin": origin.to_string()})))
            .collect();
        say!("{:#}", Value::Object(entries));
        return;
    }
    for (key, value, origin) in settings {
        say!("{:<52} # {origin}", format!("{key} = {value}"));
    }
}

fn get(loaded: &Loaded, key: &str) -> Result {
    if key == "store.dir" {
        say!("{}", loaded.config.store.directory().display());
        return Ok(());
    }
    let Some((_, value, _)) = loaded.settings().find(|(known, _, _)| *known == key) else {
        return Err(CliError::Message(format!("there is no setting {key:?}; all of them: llmo config print")));
    };
    match value {
        Value::String(text) => say!("{text}"),
        Value::Null => say!(""),
        other => say!("{other}"),
    }
    Ok(())
}
