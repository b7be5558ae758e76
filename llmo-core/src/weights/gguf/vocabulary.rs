//! The vocabulary as llama.cpp reads it: it aborts when two tokens have one text.

use std::borrow::Cow;
use std::collections::HashSet;

use super::reader::Reader;
use crate::weights::WeightsError;

/// Where the texts of the tokens are.
pub(super) const KEY: &str = "tokenizer.ggml.tokens";
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// Refuses a vocabulary with two tokens of one text. `value` is the metadata value as it is in the file, which has been
/// read once; one that is no array of texts is none of this check's business.
pub(super) fn check(value: &[u8]) -> Result<(), WeightsError> {
    let what = "the vocabulary";
    let mut reader = Reader::new(value);
    if reader.u32(what)? != ARRAY || reader.u32(what)? != TEXT {
        return Ok(());
    }
    let count = reader.elements(what, 8)?;
    let mut seen: HashSet<Cow<'_, [u8]>> = HashSet::with_capacity(count);
    for id in 0..count {
        let name = name(reader.string(what)?, id);
        if seen.contains(&name) {
            let text = String::from_utf8_lossy(&name);
            return Err(WeightsError::invalid(format!("{what} has the token {text:?} twice")));
        }
        seen.insert(name);
    }
    Ok(())
}

/// What llama.cpp calls a token: a C string; one without a text gets a name of its own.
fn name(text: &[u8], id: usize) -> Cow<'_, [u8]> {
    match text.split(|&byte| byte == 0).next() {
        Some(text) if !text.is_empty() => Cow::Borrowed(text),
        _ => Cow::Owned(format!("[EMPTY_{id}]").into_bytes()),
    }
}
