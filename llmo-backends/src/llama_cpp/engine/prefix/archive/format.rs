//! An entry as bytes.
//!
//! ```text
//! magic (8) │ length and text of the identity │ salt (32) │ long (1) │ number of tokens (4) │ length of the state (8)
//! │ BLAKE3 of all before (32) │ tokens (4 each) │ state │ BLAKE3 of all before (32)
//! ```
//! Numbers are little-endian. The first hash lets the head be trusted without the state, the second the whole. They protect
//! against damage, not against an attacker: who can write to the store can also change the weights.

use llmo_core::model::TokenId;

const MAGIC: &[u8; 8] = b"LLMOKV\x00\x02";
const HASH: usize = 32;
/// Longest identity that is believed.
const IDENTITY_AT_MOST: usize = 4096;
/// Most tokens that are believed.
const TOKENS_AT_MOST: usize = 1 << 20;

/// What was computed of the beginning of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super::super) struct Entry {
    /// Who may use it.
    pub(in super::super::super) salt: [u8; HASH],
    pub(in super::super::super) tokens: Vec<TokenId>,
    /// Was it computed by long runs? See [`Rounding`](super::super::Rounding).
    pub(in super::super::super) long: bool,
    /// llama.cpp's state of a sequence that holds just these tokens, as that of a single stream.
    pub(in super::super::super) state: Vec<u8>,
}

/// What is known without the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) salt: [u8; HASH],
    pub(super) tokens: Vec<TokenId>,
    pub(super) long: bool,
}

/// Why bytes are no entry that may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("it is damaged")]
    Damaged,
    #[error("it is of another model, build or shape")]
    Foreign,
}

impl Entry {
    pub(super) fn encode(&self, identity: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256 + identity.len() + 4 * self.tokens.len() + self.state.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(identity.len() as u32).to_le_bytes());
        bytes.extend_from_slice(identity.as_bytes());
        bytes.extend_from_slice(&self.salt);
        bytes.push(u8::from(self.long));
        bytes.extend_from_slice(&(self.tokens.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(self.state.len() as u64).to_le_bytes());
        bytes.extend(self.tokens.iter().flat_map(|token| token.to_le_bytes()));
        seal(&mut bytes);
        bytes.extend_from_slice(&self.state);
        seal(&mut bytes);
        bytes
    }

    /// The entry, if it is whole and of this identity.
    pub(super) fn decode(bytes: &[u8], identity: &str) -> Result<Self, Fault> {
        let (body, hash) = bytes.split_at_checked(bytes.len().saturating_sub(HASH)).ok_or(Fault::Damaged)?;
        let (head, state_length, state) = parse(body, identity)?;
        if blake3::hash(body).as_bytes() != hash || state.len() as u64 != state_length {
            return Err(Fault::Damaged);
        }
        Ok(Self { salt: head.salt, tokens: head.tokens, long: head.long, state: state.to_vec() })
    }
}

impl Head {
    /// The head of an entry, from its first bytes; those behind the head are not looked at.
    pub(super) fn decode(bytes: &[u8], identity: &str) -> Result<Self, Fault> {
        parse(bytes, identity).map(|(head, ..)| head)
    }
}

fn seal(bytes: &mut Vec<u8>) {
    let hash = blake3::hash(bytes);
    bytes.extend_from_slice(hash.as_bytes());
}

/// The head, the state's length as the head has it, and what follows the head.
fn parse<'a>(bytes: &'a [u8], identity: &str) -> Result<(Head, u64, &'a [u8]), Fault> {
    let mut rest = bytes;
    let mut take = |length: usize| {
        let (taken, after) = rest.split_at_checked(length).ok_or(Fault::Damaged)?;
        rest = after;
        Ok(taken)
    };
    if take(MAGIC.len())? != MAGIC {
        return Err(Fault::Foreign);
    }
    let identity_length = number(take(4)?) as usize;
    if identity_length > IDENTITY_AT_MOST {
        return Err(Fault::Damaged);
    }
    let theirs = take(identity_length)?;
    let salt = take(HASH)?;
    let long = take(1)? != [0];
    let count = number(take(4)?) as usize;
    let state_length = number(take(8)?);
    if count > TOKENS_AT_MOST {
        return Err(Fault::Damaged);
    }
    let tokens = take(4 * count)?;
    let hash = take(HASH)?;
    let head = &bytes[..bytes.len() - rest.len() - HASH];
    if blake3::hash(head).as_bytes() != hash {
        return Err(Fault::Damaged);
    }
    if theirs != identity.as_bytes() {
        return Err(Fault::Foreign);
    }
    let salt = salt.try_into().map_err(|_| Fault::Damaged)?;
    let tokens = tokens.chunks_exact(4).map(|bytes| number(bytes) as TokenId).collect();
    Ok((Head { salt, tokens, long }, state_length, rest))
}

/// A little-endian number of up to 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> Entry {
        Entry { salt: [7; HASH], tokens: (0..50).collect(), long: true, state: (0..=255).collect() }
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = entry().encode("me");
        assert_eq!(Entry::decode(&bytes, "me"), Ok(entry()));
        let head = Head { salt: [7; HASH], tokens: (0..50).collect(), long: true };
        assert_eq!(Head::decode(&bytes, "me"), Ok(head.clone()));
        assert_eq!(Head::decode(&bytes[..bytes.len() - 200], "me"), Ok(head), "the state isn't needed for that");
    }

    #[test]
    fn another_identity_is_foreign() {
        assert_eq!(Entry::decode(&entry().encode("me"), "you"), Err(Fault::Foreign));
        assert_eq!(Head::decode(b"something else entirely", "me"), Err(Fault::Foreign));
        assert_eq!(Entry::decode(b"", "me"), Err(Fault::Damaged));
    }

    proptest! {
        #[test]
        fn a_changed_or_missing_byte_is_noticed(place in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
            let mut bytes = entry().encode("me");
            let place = place.index(bytes.len());
            if cut { bytes.truncate(place) } else { bytes[place] ^= 1 << bit }
            prop_assert!(Entry::decode(&bytes, "me").is_err());
        }

        #[test]
        fn any_bytes_are_refused_quietly(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Entry::decode(&bytes, "me").is_err());
            let sealed = [&MAGIC[..], &bytes].concat();
            prop_assert!(Head::decode(&sealed, "me").is_err());
        }
    }
}
