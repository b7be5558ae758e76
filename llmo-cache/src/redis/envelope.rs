//! What is stored in Redis around a value.
//!
//! ```text
//!   "llc1" │ blake3 of (key, rest), 32 bytes │ tags: count u16, then length u16 + bytes each │ value
//! ```
//!
//! Numbers are little-endian. The key is part of the checksum: a value copied to another key does not open there. This
//! finds damage and stray writes; it is no proof against somebody who can write to Redis and knows this format.

use bytes::Bytes;
use llmo_core::{CacheError, CacheKey, Entry};

const MAGIC: &[u8; 4] = b"llc1";
const CHECKSUM_BYTES: usize = blake3::OUT_LEN;
const HEADER_BYTES: usize = MAGIC.len() + CHECKSUM_BYTES;
/// So many bytes from the beginning of an entry hold all its tags, unless they are unusually many.
pub(super) const TAGS_WINDOW: usize = 1024;

/// Wraps a value.
///
/// # Errors
/// [`CacheError::InvalidKey`] if there are more than 65 535 tags, or one is longer than that.
pub(super) fn seal(key: &CacheKey, value: &[u8], tags: &[String]) -> Result<Vec<u8>, CacheError> {
    let tag_bytes: usize = tags.iter().map(|tag| tag.len() + 2).sum();
    let mut sealed = Vec::with_capacity(HEADER_BYTES + 2 + tag_bytes + value.len());
    sealed.extend_from_slice(MAGIC);
    sealed.extend_from_slice(&[0; CHECKSUM_BYTES]);
    sealed.extend_from_slice(&short(tags.len())?);
    for tag in tags {
        sealed.extend_from_slice(&short(tag.len())?);
        sealed.extend_from_slice(tag.as_bytes());
    }
    sealed.extend_from_slice(value);
    let checksum = checksum(key, &sealed[HEADER_BYTES..]);
    sealed[MAGIC.len()..HEADER_BYTES].copy_from_slice(checksum.as_bytes());
    Ok(sealed)
}

/// Unwraps a value, which shares its memory with `sealed`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn open(key: &CacheKey, sealed: Bytes) -> Result<Entry, &'static str> {
    let header = sealed.get(..HEADER_BYTES).ok_or("shorter than its header")?;
    let (magic, claimed) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err("not an entry of this version");
    }
    let body = sealed.slice(HEADER_BYTES..);
    if checksum(key, &body).as_bytes() != claimed {
        return Err("the checksum does not match");
    }
    let (tags, value_at) = read_tags(&body).ok_or("the tags can't be read")?;
    let mut entry = Entry::new(body.slice(value_at..));
    entry.tags = tags;
    Ok(entry)
}

/// Does the entry that begins with these bytes carry `tag`? Yes if that can't be told: forgetting too much is allowed,
/// forgetting too little is not. No if there is no entry.
pub(super) fn carries(beginning: &[u8], tag: &str) -> bool {
    if beginning.is_empty() {
        return false;
    }
    let tags = beginning.get(HEADER_BYTES..).and_then(read_tags);
    tags.is_none_or(|(tags, _)| tags.iter().any(|carried| carried == tag))
}

fn checksum(key: &CacheKey, body: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.as_str().len() as u64).to_le_bytes());
    hasher.update(key.as_str().as_bytes());
    hasher.update(body);
    hasher.finalize()
}

fn short(len: usize) -> Result<[u8; 2], CacheError> {
    u16::try_from(len)
        .map(u16::to_le_bytes)
        .map_err(|_| CacheError::InvalidKey("too many tags, or one too long".into()))
}

/// The tags, and where the value begins.
fn read_tags(body: &[u8]) -> Option<(Vec<String>, usize)> {
    let mut at = 0_usize;
    let mut take = |len: usize| -> Option<&[u8]> {
        let taken = body.get(at..at.checked_add(len)?)?;
        at += len;
        Some(taken)
    };
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u16::from_le_bytes);
    let count = number(take(2)?)?;
    let mut tags = Vec::new();
    for _ in 0..count {
        let len = number(take(2)?)?;
        tags.push(String::from_utf8(take(len.into())?.to_vec()).ok()?);
    }
    Some((tags, at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> CacheKey {
        CacheKey::new("k").unwrap()
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_again(value: Vec<u8>, tags: Vec<String>) {
            let sealed = seal(&key(), &value, &tags).unwrap();
            let entry = open(&key(), sealed.into()).unwrap();
            prop_assert_eq!(entry.value, value);
            prop_assert_eq!(entry.tags, tags);
        }

        #[test]
        fn any_flipped_bit_is_found(value: Vec<u8>, at: prop::sample::Index, bit in 0_u8..8) {
            let mut sealed = seal(&key(), &value, &["t".into()]).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(open(&key(), sealed.into()).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_open_and_never_panic(bytes: Vec<u8>) {
            prop_assert!(open(&key(), bytes.into()).is_err());
        }
    }

    #[test]
    fn tags_are_found_at_the_beginning_of_an_entry() {
        let sealed = seal(&key(), &[7; 5000], &["a".into(), "b".into()]).unwrap();
        let beginning = &sealed[..TAGS_WINDOW];
        assert!(carries(beginning, "a") && carries(beginning, "b"));
        assert!(!carries(beginning, "c"));
        assert!(carries(&sealed[..HEADER_BYTES + 3], "c"), "cut off: it can't be told");
        assert!(!carries(&[], "a"), "no entry");
    }

    #[test]
    fn an_entry_does_not_open_under_another_key() {
        let sealed = seal(&key(), b"value", &[]).unwrap();
        assert!(open(&CacheKey::new("other").unwrap(), sealed.into()).is_err());
    }
}
