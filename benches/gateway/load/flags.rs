//! `HOST:PORT --name number …`.

use std::collections::HashMap;

use crate::Result;

/// What was said on the command line.
pub(crate) struct Flags {
    pub(crate) address: String,
    numbers: HashMap<String, u64>,
}

impl Flags {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let (mut address, mut numbers) = (String::new(), HashMap::new());
        while let Some(word) = arguments.next() {
            match word.strip_prefix("--") {
                Some(name) => {
                    let value = arguments.next().ok_or_else(|| format!("--{name} wants a number"))?;
                    numbers.insert(name.to_owned(), value.parse()?);
                }
                None => address = word,
            }
        }
        Ok(Self { address, numbers })
    }

    pub(crate) fn number(&self, name: &str, default: u64) -> u64 {
        self.numbers.get(name).copied().unwrap_or(default)
    }
}
