//! `.env.example` has a variable for every setting, and every value in it is accepted.

use std::collections::BTreeSet;

use llmo_config::{Loader, Origin};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Its variables, commented or not.
fn variables() -> std::io::Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../.env.example"))?;
    let assignment = |line: &str| {
        let (name, value) = line.strip_prefix('#').unwrap_or(line).split_once('=')?;
        let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        named.then(|| (name.to_owned(), value.to_owned()))
    };
    Ok(text.lines().filter_map(assignment).collect())
}

#[test]
fn every_setting_has_its_variable_there() -> Outcome {
    let mut set = BTreeSet::new();
    for (name, value) in variables()? {
        let loaded = Loader::new().environment([(name.as_str(), "1")]).load();
        // What takes no number is asked again with what is there.
        let loaded = loaded.or_else(|_| Loader::new().environment([(name.as_str(), value.as_str())]).load());
        let loaded = loaded.map_err(|error| format!("{name}={value}: {error}"))?;
        set.extend(loaded.settings().filter(|(.., from)| **from != Origin::Default).map(|(key, ..)| key.to_owned()));
    }
    let all = Loader::new().load()?;
    // Lists of tables have no variable.
    let missing: Vec<_> =
        all.settings().map(|(key, ..)| key).filter(|key| key.contains('.') && !set.contains(*key)).collect();
    assert!(missing.is_empty(), "not in .env.example: {missing:?}");
    Ok(())
}

#[test]
fn every_value_there_is_accepted() -> Outcome {
    for (name, value) in variables()? {
        Loader::new()
            .environment([(name.as_str(), value.as_str())])
            .load()
            .map_err(|error| format!("{name}={value}: {error}"))?;
    }
    Ok(())
}
