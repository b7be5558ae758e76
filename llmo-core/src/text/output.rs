//! The whole way from token bytes to text that may be shown: characters first, then stop strings.

use super::{StopMatcher, StopStep, Utf8Assembler};

/// What a backend pushes its tokens through.
///
/// ```
/// use llmo_core::text::OutputAssembler;
///
/// let mut output = OutputAssembler::new(vec!["é!".into()]);
/// assert_eq!(output.push(b"caf\xC3").text, "caf");
/// let step = output.push(b"\xA9! more");
/// assert_eq!((step.text.as_str(), step.stopped.as_deref()), ("", Some("é!")));
/// ```
#[derive(Debug, Clone)]
pub struct OutputAssembler {
    characters: Utf8Assembler,
    stops: StopMatcher,
}

impl OutputAssembler {
    /// Output that ends at the first of `stops`.
    #[must_use]
    pub fn new(stops: Vec<String>) -> Self {
        Self { characters: Utf8Assembler::new(), stops: StopMatcher::new(stops) }
    }

    /// Takes the bytes of one or more tokens.
    pub fn push(&mut self, token_bytes: &[u8]) -> StopStep {
        self.stops.push(&self.characters.push(token_bytes))
    }

    /// Takes the bytes of tokens whose text was told before: what follows goes on as if they had just been pushed.
    pub fn resume<'a>(&mut self, tokens: impl IntoIterator<Item = &'a [u8]>) {
        for bytes in tokens {
            self.push(bytes);
        }
    }

    /// The model has ended: everything that was held back. Ask [`stopped`](Self::stopped) after it.
    pub fn finish(&mut self) -> String {
        let mut text = self.stops.push(&self.characters.finish()).text;
        text.push_str(&self.stops.finish());
        text
    }

    /// The stop string that ended the output, if one did.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        self.stops.stopped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_found_across_tokens_that_split_its_characters() {
        let mut output = OutputAssembler::new(vec!["→".into()]);
        let arrow = "→".as_bytes();
        assert_eq!(output.push(&[b"a", &arrow[..1]].concat()).text, "a");
        assert_eq!(output.push(&arrow[1..2]), StopStep::default());
        assert_eq!(output.push(&arrow[2..]).stopped.as_deref(), Some("→"));
        assert_eq!(output.finish(), "");
    }

    #[test]
    fn a_resumed_output_goes_on_where_it_was_cut() {
        let mut output = OutputAssembler::new(vec!["END".into()]);
        output.resume([&b"told EN"[..], b"\xC3"]);
        assert_eq!(output.push(b"\xA9").text, "ENé", "what was held back is told now");
        output.resume([&b"E"[..], b"N"]);
        assert_eq!(output.push(b"D").stopped.as_deref(), Some("END"));
    }

    #[test]
    fn the_end_releases_a_broken_character_and_a_false_start() {
        let mut output = OutputAssembler::new(vec!["END".into()]);
        assert_eq!(output.push(b"x EN\xC3").text, "x ");
        assert_eq!(output.finish(), "EN\u{FFFD}");
        assert_eq!(output.stopped(), None);
    }
}
