//! `llmo key new`: makes an API key. It is printed once, on standard output and alone, so that a script can take it; what else
//! there is to say goes to standard error.

use llmo_config::Config;
use llmo_gateway::keys::file::KeyEntry;
use llmo_gateway::keys::fresh;

use crate::cli::{KeyAction, NewKeyArgs};
use crate::error::{CliError, Result};

pub(crate) fn run(action: &KeyAction, config: &Config) -> Result {
    match action {
        KeyAction::New(arguments) => new(arguments, config),
    }
}

fn new(arguments: &NewKeyArgs, config: &Config) -> Result {
    let key = fresh::key().map_err(CliError::io("the system gives no random numbers"))?;
    let entry = entry(arguments, &key).map_err(CliError::Message)?;
    let configured = Some(&config.gateway.keys_file).filter(|file| !file.as_os_str().is_empty());
    if let Some(file) = arguments.file.as_ref().or(configured) {
        fresh::add(file, &entry).map_err(CliError::Message)?;
        eprintln!("{:?} is in {}; a running gateway takes it within seconds.", entry.name, file.display());
        if configured != Some(file) {
            eprintln!("The gateway looks there if you say so: LLMO_GATEWAY__KEYS_FILE={}", file.display());
        }
    } else {
        eprintln!("Add this to the file of keys (LLMO_GATEWAY__KEYS_FILE):\n");
        eprintln!("{}", fresh::text(&entry).map_err(CliError::Message)?);
    }
    eprintln!("The key, which is kept nowhere and not shown again:");
    say!("{key}");
    Ok(())
}

/// The entry, checked before anything is written.
fn entry(arguments: &NewKeyArgs, key: &str) -> Result<KeyEntry, String> {
    let mut entry = fresh::entry(&arguments.name, key);
    entry.tenant.clone_from(&arguments.tenant);
    entry.models = Some(arguments.models.clone()).filter(|models| !models.is_empty());
    if let Some(expires) = &arguments.expires {
        let read = expires.parse().map_err(|_| {
            format!("--expires {expires:?} must be a day (2027-01-31) or a time in UTC (2027-01-31T12:00:00Z)")
        });
        entry.expires = Some(read?);
    }
    entry.check()?;
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(expires: Option<&str>) -> NewKeyArgs {
        let expires = expires.map(str::to_owned);
        NewKeyArgs { name: "a".into(), tenant: None, models: Vec::new(), expires, file: None }
    }

    #[test]
    fn what_can_not_stand_in_the_file_is_refused_before_a_key_is_told() {
        assert!(entry(&arguments(Some("2027-01-31")), "sk").is_ok());
        for bad in ["soon", "2027-13-01", "2027-01-31T12:00:00+02:00"] {
            assert!(entry(&arguments(Some(bad)), "sk").is_err(), "{bad}");
        }
        let named = NewKeyArgs { name: "a b".into(), ..arguments(None) };
        assert!(entry(&named, "sk").expect_err("no name").contains("name must be"));
    }
}
