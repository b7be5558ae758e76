//! Names in which `*` stands for any characters.

use std::fmt;

/// A name, or several at once: `*` stands for any characters, none included. Everything else stands for itself.
///
/// Matching takes time linear in the name for each `*`, whatever the name is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What stands between the `*`; a single piece is the whole name.
    pieces: Vec<String>,
}

impl Pattern {
    /// Reads a pattern. Any text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { pieces: text.split('*').map(str::to_owned).collect() }
    }

    /// The one name that matches, if there is no `*`.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        match &self.pieces[..] {
            [name] => Some(name),
            _ => None,
        }
    }

    /// Does `name` match? Then what the first `*` stands for, as short as can be; empty if there is none.
    #[must_use]
    pub fn captures<'a>(&self, name: &'a str) -> Option<&'a str> {
        let [first, middle @ .., last] = &self.pieces[..] else {
            return (self.exact() == Some(name)).then_some("");
        };
        let rest = name.strip_prefix(first.as_str())?;
        // The last piece is the end, and the pieces between may not reach into it.
        let inner = rest.strip_suffix(last.as_str())?;
        let (mut left, mut captured) = (inner, None);
        for piece in middle {
            let at = left.find(piece.as_str())?;
            captured.get_or_insert(&left[..at]);
            left = &left[at + piece.len()..];
        }
        Some(captured.unwrap_or(inner))
    }

    /// Does `name` match?
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.captures(name).is_some()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pieces.join("*"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, by trying everything.
    fn matches(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=name.len()).any(|skip| matches(rest, &name[skip..])),
            ([p, rest @ ..], [n, name @ ..]) => p == n && matches(rest, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_matches_what_the_definition_matches(pattern in "[ab*]{0,7}", name in "[ab]{0,9}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Pattern::new(&pattern).matches(&name), matches(&chars(&pattern), &chars(&name)));
        }

        #[test]
        fn a_name_without_stars_matches_itself_only(name in "[a-z:/é]{0,9}", other in "[a-z:/é]{0,9}") {
            let pattern = Pattern::new(&name);
            prop_assert_eq!(pattern.captures(&name), Some(""));
            prop_assert_eq!(pattern.matches(&other), name == other);
            prop_assert_eq!(pattern.exact(), Some(name.as_str()));
        }

        #[test]
        fn what_was_captured_makes_the_name_again(before in "[a-z/]{0,5}", after in "[a-z/]{0,5}", name in "[a-zé/]{0,20}") {
            let pattern = Pattern::new(&format!("{before}*{after}"));
            if let Some(captured) = pattern.captures(&name) {
                prop_assert_eq!(format!("{before}{captured}{after}"), name);
            }
        }
    }

    #[test]
    fn the_first_star_is_what_is_captured() {
        assert_eq!(Pattern::new("openai/*").captures("openai/gpt-4o"), Some("gpt-4o"));
        assert_eq!(Pattern::new("*/*").captures("a/b/c"), Some("a"));
        assert_eq!(Pattern::new("a*").captures("a"), Some(""));
        assert_eq!(Pattern::new("aa*aa").captures("aaa"), None);
        assert_eq!(Pattern::new("*").to_string(), "*");
    }
}
