//! Stop strings, found across token borders.
//!
//! Text that may be the start of a stop string is held back until it is clear whether it is one. Each stop is followed
//! by the automaton of Knuth, Morris and Pratt over bytes, so every byte is looked at once a stop, however the text is
//! cut; stops and text are valid UTF-8, so a match can't begin or end inside a character.

use std::sync::Arc;

/// What a piece of text led to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StopStep {
    /// Text that is certainly before any stop string.
    pub text: String,
    /// The stop string that ended the output. Nothing comes out any more.
    pub stopped: Option<String>,
}

/// Ends text at the first stop string.
///
/// Of all occurrences the one that *starts* first counts; of stops that start at the same place, the shortest. Where a
/// stop is complete but a longer one that began before it is still open (`bc` in `abc` with the stops `bc` and `abcd`),
/// the matcher waits for the text that decides, so the result does not depend on how the text is cut into pieces.
///
/// ```
/// use llmo_core::text::StopMatcher;
///
/// let mut matcher = StopMatcher::new(vec!["END".into()]);
/// assert_eq!(matcher.push("one E").text, "one "); // "E" may be the start of a stop
/// let step = matcher.push("ND two");
/// assert_eq!((step.text.as_str(), step.stopped.as_deref()), ("", Some("END")));
/// ```
#[derive(Debug, Clone)]
pub struct StopMatcher {
    stops: Vec<Progress>,
    /// Text not given out yet.
    held: String,
    /// Bytes of text seen so far.
    seen: usize,
    /// The best complete occurrence so far: where it starts, and of which stop.
    found: Option<(usize, usize)>,
    stopped: Option<String>,
}

impl StopMatcher {
    /// A matcher for these strings. Empty strings are ignored.
    #[must_use]
    pub fn new(stops: Vec<String>) -> Self {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty()).map(Progress::new).collect();
        Self { stops, held: String::new(), seen: 0, found: None, stopped: None }
    }

    /// Takes text; gives what is certainly before any stop string. After a stop everything is swallowed.
    pub fn push(&mut self, text: &str) -> StopStep {
        if self.stopped.is_some() {
            return StopStep { text: String::new(), stopped: self.stopped.clone() };
        }
        if self.stops.is_empty() {
            return StopStep { text: text.to_owned(), stopped: None };
        }
        let before = self.seen - self.held.len();
        self.held.push_str(text);
        for byte in text.bytes() {
            self.advance(byte);
            if let Some(decided) = self.found.filter(|(start, _)| self.earliest_open() >= *start) {
                return self.stop_at(decided, before);
            }
        }
        let safe = self.earliest_open().min(self.found.map_or(usize::MAX, |(start, _)| start));
        let rest = self.held.split_off(safe - before);
        StopStep { text: std::mem::replace(&mut self.held, rest), stopped: None }
    }

    /// Ends the text: gives what was held back, up to a stop string that was complete (see [`stopped`](Self::stopped)).
    pub fn finish(&mut self) -> String {
        if let Some(found) = self.found.filter(|_| self.stopped.is_none()) {
            let before = self.seen - self.held.len();
            return self.stop_at(found, before).text;
        }
        std::mem::take(&mut self.held)
    }

    /// The stop string that ended the text, if one did. Ask also after [`finish`](Self::finish).
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// Moves every stop's automaton by one byte and notes an occurrence that starts before the known one.
    fn advance(&mut self, byte: u8) {
        self.seen += 1;
        for (index, stop) in self.stops.iter_mut().enumerate() {
            if !stop.advance(byte) {
                continue;
            }
            let start = self.seen - stop.text.len();
            if self.found.is_none_or(|(known, _)| start < known) {
                self.found = Some((start, index));
            }
        }
    }

    /// Where the earliest stop string that may still become complete starts; the end of the text if there is none.
    fn earliest_open(&self) -> usize {
        self.seen - self.stops.iter().map(|stop| stop.matched).max().unwrap_or(0)
    }

    fn stop_at(&mut self, (start, index): (usize, usize), before: usize) -> StopStep {
        self.held.truncate(start - before);
        self.stopped = Some(self.stops[index].text.to_string());
        StopStep { text: std::mem::take(&mut self.held), stopped: self.stopped.clone() }
    }
}

/// One stop string and how much of it the text ends with.
#[derive(Debug, Clone)]
struct Progress {
    text: Arc<str>,
    /// For each prefix of the stop (by length minus one): the length of the longest shorter prefix that it ends with.
    shorter: Arc<[usize]>,
    /// Length of the longest prefix of the stop that the text ends with, the whole stop excluded.
    matched: usize,
}

impl Progress {
    fn new(stop: String) -> Self {
        let bytes = stop.as_bytes();
        let mut shorter = vec![0; bytes.len()];
        let mut length = 0;
        for at in 1..bytes.len() {
            while length > 0 && bytes[at] != bytes[length] {
                length = shorter[length - 1];
            }
            if bytes[at] == bytes[length] {
                length += 1;
            }
            shorter[at] = length;
        }
        Self { shorter: shorter.into(), text: stop.into(), matched: 0 }
    }

    /// Takes one byte; true if the stop is complete with it.
    fn advance(&mut self, byte: u8) -> bool {
        let stop = self.text.as_bytes();
        while self.matched > 0 && stop[self.matched] != byte {
            self.matched = self.shorter[self.matched - 1];
        }
        if stop[self.matched] == byte {
            self.matched += 1;
        }
        if self.matched < stop.len() {
            return false;
        }
        self.matched = self.shorter[self.matched - 1];
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What must come out: the text up to the occurrence that starts first, and the shortest stop that starts there.
    fn reference(text: &str, stops: &[String]) -> (String, Option<String>) {
        let first = stops
            .iter()
            .filter(|stop| !stop.is_empty())
            .filter_map(|stop| text.find(stop.as_str()).map(|start| (start, stop.len(), stop)))
            .min();
        match first {
            Some((start, _, stop)) => (text[..start].to_owned(), Some(stop.clone())),
            None => (text.to_owned(), None),
        }
    }

    /// Pushes `pieces`; everything given out, and the stop.
    fn run(pieces: &[&str], stops: &[String]) -> (String, Option<String>) {
        let mut matcher = StopMatcher::new(stops.to_vec());
        let mut text = String::new();
        for piece in pieces {
            text.push_str(&matcher.push(piece).text);
        }
        text.push_str(&matcher.finish());
        (text, matcher.stopped().map(str::to_owned))
    }

    fn cut<'a>(text: &'a str, cuts: &[usize]) -> Vec<&'a str> {
        let mut places: Vec<usize> =
            cuts.iter().map(|cut| cut % (text.len() + 1)).filter(|&place| text.is_char_boundary(place)).collect();
        places.extend([0, text.len()]);
        places.sort_unstable();
        places.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
    }

    proptest! {
        // A small alphabet makes overlapping, nested and repeated stops the rule.
        #[test]
        fn the_text_ends_at_the_earliest_stop_however_it_is_cut(
            text in "[abcé]{0,60}",
            stops in prop::collection::vec("[abcé]{0,6}", 0..5),
            cuts in prop::collection::vec(any::<usize>(), 0..60),
        ) {
            prop_assert_eq!(run(&cut(&text, &cuts), &stops), reference(&text, &stops));
        }

        #[test]
        fn no_more_than_a_stop_s_length_is_held_back(
            text in "[abcé]{0,60}",
            stops in prop::collection::vec("[abcé]{1,6}", 1..5),
        ) {
            let longest = stops.iter().map(String::len).max().unwrap_or(0);
            let mut matcher = StopMatcher::new(stops);
            for (at, _) in text.char_indices().skip(1) {
                let given = matcher.push(&text[at..at + text[at..].chars().next().map_or(0, char::len_utf8)]);
                prop_assert!(given.stopped.is_some() || matcher.held.len() < 2 * longest);
            }
        }

        #[test]
        fn what_is_held_back_is_the_start_of_a_stop(text in "[abc]{0,40}", stop in "[abc]{1,5}") {
            let mut matcher = StopMatcher::new(vec![stop.clone()]);
            if matcher.push(&text).stopped.is_none() {
                prop_assert!(stop.starts_with(&matcher.held));
            }
        }
    }

    #[test]
    fn text_without_stops_passes_at_once() {
        assert_eq!(StopMatcher::new(vec![]).push("abc"), StopStep { text: "abc".into(), stopped: None });
    }

    #[test]
    fn a_false_start_is_released_with_the_text_that_shows_it() {
        let mut matcher = StopMatcher::new(vec!["\n\nUser:".into()]);
        assert_eq!(matcher.push("Hi.\n\nUs").text, "Hi.");
        assert_eq!(matcher.push("ually").text, "\n\nUsually");
    }

    #[test]
    fn a_stop_inside_a_longer_open_one_waits_for_the_decision() {
        let stops = vec!["abcd".to_owned(), "bc".to_owned()];
        let mut matcher = StopMatcher::new(stops.clone());
        assert_eq!(matcher.push("xabc"), StopStep { text: "x".into(), stopped: None });
        assert_eq!(matcher.push("d").stopped.as_deref(), Some("abcd"));
        let mut matcher = StopMatcher::new(stops.clone());
        matcher.push("xabc");
        assert_eq!(matcher.push("e"), StopStep { text: "a".into(), stopped: Some("bc".into()) });
        let mut matcher = StopMatcher::new(stops);
        matcher.push("xabc");
        assert_eq!((matcher.finish().as_str(), matcher.stopped()), ("a", Some("bc")));
    }

    #[test]
    fn after_a_stop_nothing_comes_out() {
        let mut matcher = StopMatcher::new(vec!["#".into()]);
        matcher.push("a#b");
        assert_eq!(matcher.push("c"), StopStep { text: String::new(), stopped: Some("#".into()) });
        assert_eq!(matcher.finish(), "");
    }

    /// A quadratic matcher would take hours: 4 MB of text that is almost always almost a stop.
    #[test]
    fn cost_is_linear_in_the_text() {
        let mut matcher = StopMatcher::new(vec![format!("{}b", "a".repeat(1023)); 4]);
        let mut given = 0;
        for _ in 0..1000 {
            given += matcher.push(&"a".repeat(4000)).text.len();
        }
        assert_eq!(given + matcher.finish().len(), 4_000_000);
    }
}
