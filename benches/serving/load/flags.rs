//! `--name VALUE` pairs, and one address before them.

use std::collections::HashMap;

use crate::Result;

pub(crate) struct Flags {
    address: Option<String>,
    values: HashMap<String, String>,
}

impl Flags {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let (mut address, mut values) = (None, HashMap::new());
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix("--") {
                Some(name) => {
                    let value = arguments.next().ok_or_else(|| format!("--{name} wants a value"))?;
                    values.insert(name.to_owned(), value);
                }
                None => address = Some(argument),
            }
        }
        Ok(Self { address, values })
    }

    /// HOST:PORT of the server.
    pub(crate) fn address(&self) -> Result<String> {
        Ok(self.address.clone().ok_or("the server's HOST:PORT is missing")?)
    }

    pub(crate) fn text(&self, name: &str, default: &str) -> String {
        self.values.get(name).cloned().unwrap_or_else(|| default.to_owned())
    }

    pub(crate) fn number(&self, name: &str, default: u64) -> Result<u64> {
        let Some(text) = self.values.get(name) else { return Ok(default) };
        text.parse().map_err(|_| format!("--{name}: {text} is not a number").into())
    }
}
