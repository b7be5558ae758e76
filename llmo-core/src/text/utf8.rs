//! Whole characters from the bytes of tokens.
//!
//! A token may end in the middle of a character (byte-level BPE, byte fallback). The incomplete rest waits for the next
//! token; at most three bytes ever wait.

/// Puts characters together from pieces of UTF-8 that are cut anywhere.
///
/// Joined, the output is what [`String::from_utf8_lossy`] makes of all bytes together: valid text loses nothing, and
/// what can't become text is replaced by U+FFFD.
///
/// ```
/// use llmo_core::text::Utf8Assembler;
///
/// let mut assembler = Utf8Assembler::default();
/// assert_eq!(assembler.push(b"caf\xC3"), "caf");
/// assert_eq!(assembler.push(b"\xA9!"), "é!");
/// assert_eq!(assembler.finish(), "");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Utf8Assembler {
    /// The start of a character whose other bytes haven't come yet.
    incomplete: Vec<u8>,
}

impl Utf8Assembler {
    /// An assembler that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes; gives every character that is complete now.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        if self.incomplete.is_empty() {
            return self.decode(bytes);
        }
        let mut joined = std::mem::take(&mut self.incomplete);
        joined.extend_from_slice(bytes);
        self.decode(&joined)
    }

    /// Ends the text: an incomplete character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.incomplete);
        String::from_utf8_lossy(&rest).into_owned()
    }

    fn decode(&mut self, mut bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len());
        loop {
            let fault = match std::str::from_utf8(bytes) {
                Ok(rest) => {
                    text.push_str(rest);
                    return text;
                }
                Err(fault) => fault,
            };
            let (valid, rest) = bytes.split_at(fault.valid_up_to());
            text.push_str(&String::from_utf8_lossy(valid));
            let Some(broken) = fault.error_len() else {
                self.incomplete = rest.to_vec();
                return text;
            };
            text.push(char::REPLACEMENT_CHARACTER);
            bytes = &rest[broken..];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Cuts `bytes` at the given places (modulo its length) and pushes the parts.
    fn assemble(bytes: &[u8], cuts: &[usize]) -> (Vec<String>, usize) {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let mut assembler = Utf8Assembler::new();
        let mut most_held = 0;
        let mut parts: Vec<String> = Vec::new();
        for pair in places.windows(2) {
            parts.push(assembler.push(&bytes[pair[0]..pair[1]]));
            most_held = most_held.max(assembler.incomplete.len());
        }
        parts.push(assembler.finish());
        (parts, most_held)
    }

    proptest! {
        #[test]
        fn valid_text_survives_any_cutting(text in any::<String>(), cuts in prop::collection::vec(any::<usize>(), 0..40)) {
            let (parts, most_held) = assemble(text.as_bytes(), &cuts);
            prop_assert_eq!(parts.concat(), text);
            prop_assert!(most_held <= 3);
        }

        #[test]
        fn any_bytes_read_as_if_they_came_at_once(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            cuts in prop::collection::vec(any::<usize>(), 0..80),
        ) {
            let (parts, most_held) = assemble(&bytes, &cuts);
            prop_assert_eq!(parts.concat(), String::from_utf8_lossy(&bytes).into_owned());
            prop_assert!(most_held <= 3);
        }
    }

    #[test]
    fn a_character_comes_out_with_its_last_byte() {
        let mut assembler = Utf8Assembler::new();
        let outputs: Vec<String> = "🦀".bytes().map(|byte| assembler.push(&[byte])).collect();
        assert_eq!(outputs, ["", "", "", "🦀"]);
    }

    #[test]
    fn an_unfinished_character_is_replaced_at_the_end() {
        let mut assembler = Utf8Assembler::new();
        assert_eq!(assembler.push(b"a\xF0\x9F"), "a");
        assert_eq!(assembler.finish(), "\u{FFFD}");
        assert_eq!(assembler.finish(), "");
    }
}
