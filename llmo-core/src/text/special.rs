//! Keeps a user's text from becoming control tokens.
//!
//! A rendered prompt holds both the template's markers, which must become special tokens, and the user's text, in which
//! the same markers are just text. So that a tokenizer can tell them apart, [`SpecialTokens::guard`] puts a sentinel
//! into every marker in the user's text *before* it is rendered, and [`SpecialTokens::pieces`] cuts the rendered prompt
//! at the sentinels. Each piece is tokenised with special tokens on; text without markers is one piece, so it becomes
//! exactly the tokens that it would become otherwise.

use std::borrow::Cow;

/// Marks a cut. A noncharacter: Unicode promises that it never means anything.
const SENTINEL: char = '\u{FDD0}';

/// The strings that a tokenizer turns into control tokens.
///
/// ```
/// use llmo_core::text::SpecialTokens;
///
/// let special = SpecialTokens::new(["<|im_start|>", "<|im_end|>"]);
/// let content = special.guard("ignore this: <|im_end|>");
/// let prompt = format!("<|im_start|>user\n{content}<|im_end|>\n");
/// let pieces: Vec<&str> = special.pieces(&prompt).collect();
/// assert_eq!(pieces, ["<|im_start|>user\nignore this: <", "|im_end|><|im_end|>\n"]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct SpecialTokens {
    /// A trie over bytes; node 0 is the root. A model has up to some thousand special tokens.
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// Ordered by byte.
    children: Vec<(u8, usize)>,
    ends_token: bool,
}

impl SpecialTokens {
    /// The special tokens of a model. Empty strings are ignored.
    #[must_use]
    pub fn new(tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut special = Self { nodes: vec![Node::default()] };
        for token in tokens {
            let token: String = token.into();
            if !token.is_empty() {
                special.insert(&token);
            }
        }
        special
    }

    /// Breaks every special token in `text`, which a user wrote, so that no piece of the prompt holds it whole.
    ///
    /// The sentinel stands after the first character of each occurrence. A special token of a single character can't be
    /// broken and is left out. A sentinel that the user wrote becomes U+FFFD. Text without any of these is borrowed.
    #[must_use]
    pub fn guard<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text: Cow<'a, str> =
            if text.contains(SENTINEL) { Cow::Owned(text.replace(SENTINEL, "\u{FFFD}")) } else { Cow::Borrowed(text) };
        let mut guarded: Option<String> = None;
        let mut copied = 0;
        for (start, first) in text.char_indices() {
            let Some(length) = self.shortest_at(&text.as_bytes()[start..]) else { continue };
            let output = guarded.get_or_insert_with(|| String::with_capacity(text.len() + 64));
            let after = start + first.len_utf8();
            output.push_str(&text[copied..if length > first.len_utf8() { after } else { start }]);
            output.push(SENTINEL);
            copied = after;
        }
        match guarded {
            None => text,
            Some(mut output) => {
                output.push_str(&text[copied..]);
                Cow::Owned(output)
            }
        }
    }

    /// The parts of a rendered prompt between sentinels, to be tokenised one by one. Never an empty part.
    pub fn pieces<'a>(&self, rendered: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        rendered.split(SENTINEL).filter(|piece| !piece.is_empty())
    }

    fn insert(&mut self, token: &str) {
        let mut at = 0;
        for byte in token.bytes() {
            at = match self.nodes[at].children.binary_search_by_key(&byte, |child| child.0) {
                Ok(found) => self.nodes[at].children[found].1,
                Err(place) => {
                    let new = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.nodes[at].children.insert(place, (byte, new));
                    new
                }
            };
        }
        self.nodes[at].ends_token = true;
    }

    /// Length in bytes of the shortest special token that `text` starts with.
    fn shortest_at(&self, text: &[u8]) -> Option<usize> {
        let mut node = self.nodes.first()?;
        for (read, byte) in text.iter().enumerate() {
            let found = node.children.binary_search_by_key(byte, |child| child.0).ok()?;
            node = &self.nodes[node.children[found].1];
            if node.ends_token {
                return Some(read + 1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chatml() -> SpecialTokens {
        SpecialTokens::new(["<|im_start|>", "<|im_end|>", "<|endoftext|>", "</s>"])
    }

    proptest! {
        // A small alphabet, so that tokens overlap, nest and repeat.
        #[test]
        fn no_piece_of_a_user_s_text_holds_a_special_token(
            text in "[ab<é\u{FDD0}]{0,40}",
            tokens in prop::collection::vec("[ab<é]{1,5}", 0..6),
        ) {
            let special = SpecialTokens::new(tokens.clone());
            let guarded = special.guard(&text);
            for piece in special.pieces(&guarded) {
                for token in &tokens {
                    prop_assert!(!piece.contains(token.as_str()), "{piece:?} holds {token:?}");
                }
            }
        }

        #[test]
        fn text_without_special_tokens_passes_unchanged(text in any::<String>()) {
            prop_assume!(!text.contains(SENTINEL) && !["<|im_", "<|endoftext|>", "</s>"].iter().any(|t| text.contains(t)));
            let special = chatml();
            prop_assert!(matches!(special.guard(&text), Cow::Borrowed(same) if same == text));
        }

        #[test]
        fn nothing_but_sentinels_is_added(text in "[ab<|>_mis/]{0,40}", tokens in prop::collection::vec("[ab<]{2,5}", 0..6)) {
            let special = SpecialTokens::new(tokens);
            let guarded = special.guard(&text);
            prop_assert_eq!(special.pieces(&guarded).collect::<String>(), text);
        }
    }

    #[test]
    fn a_sentinel_of_the_user_can_t_cut_the_prompt() {
        assert_eq!(chatml().guard("a\u{FDD0}b"), "a\u{FFFD}b");
        let guarded = chatml().guard("<|im_\u{FDD0}start|>").into_owned();
        assert_eq!(chatml().pieces(&guarded).count(), 1);
    }

    #[test]
    fn a_special_token_of_one_character_is_left_out() {
        let special = SpecialTokens::new(["§", "ab"]);
        let guarded = special.guard("x§a§b").into_owned();
        assert_eq!(special.pieces(&guarded).collect::<Vec<_>>(), ["x", "a", "b"]);
    }

    #[test]
    fn no_special_tokens_means_no_change() {
        assert_eq!(SpecialTokens::default().guard("<|im_start|>"), "<|im_start|>");
        assert_eq!(SpecialTokens::new(["", ""]).guard("<s>"), "<s>");
    }
}
