//! GPT-2's alphabet: 256 printable characters that stand for the 256 bytes in the vocabularies of byte-level BPE.

/// The byte that each character of the alphabet stands for.
pub(super) fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => u8::try_from(code).ok(),
        // The other 68 bytes are numbered from 256 in their own order.
        0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        0x121..=0x142 => u8::try_from(code - 0x121 + 0x7f).ok(),
        0x143 => Some(0xad),
        _ => None,
    }
}

/// The bytes that a vocabulary entry stands for; characters outside the alphabet stand for themselves.
pub(super) fn decode(entry: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entry.len());
    for character in entry.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_the_one_that_tokenizers_encodes_with() {
        let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        let mut bytes: Vec<u8> = alphabet.iter().map(|&c| byte_of(c).unwrap()).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!((byte_of('Ġ'), byte_of('Ċ'), byte_of('é')), (Some(b' '), Some(b'\n'), Some(0xe9)));
    }

    #[test]
    fn entries_decode_to_the_bytes_of_their_text() {
        assert_eq!(decode("Ġcaf\u{c3}\u{a9}"), " café".as_bytes());
        assert_eq!(decode("→"), "→".as_bytes(), "outside the alphabet");
    }
}
