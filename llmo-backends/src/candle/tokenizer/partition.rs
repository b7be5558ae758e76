//! Cuts tokens that are found as they are, such as `<|im_start|>`, out of a text.

use llmo_core::model::TokenId;

use super::vocabulary::{Kind, Vocabulary};

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fragment<'a> {
    Text(&'a str),
    Token(TokenId),
}

/// The tokens to look for, longest first; of equally long ones, the lower id first.
#[derive(Debug)]
pub(super) struct Partition {
    tokens: Vec<Special>,
}

#[derive(Debug)]
struct Special {
    text: String,
    token: TokenId,
    /// Found in any text, not only where special tokens are parsed.
    always: bool,
}

impl Partition {
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let special = |(id, (text, kind)): (usize, (&String, &Kind))| {
            let always = match kind {
                Kind::UserDefined => true,
                Kind::Control | Kind::Unknown => false,
                Kind::Normal | Kind::Unused | Kind::Byte => return None,
            };
            Some(Special { text: text.clone(), token: id as TokenId, always })
        };
        let mut tokens: Vec<Special> =
            vocabulary.texts.iter().zip(&vocabulary.kinds).enumerate().filter_map(special).collect();
        tokens.sort_by_key(|special| std::cmp::Reverse(special.text.len()));
        Self { tokens }
    }

    /// The texts that become tokens only when special tokens are parsed.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().filter(|special| !special.always).map(|special| special.text.as_str())
    }

    /// The fragments of `text`, none of them empty. Each token is looked for in all text that longer ones left over.
    pub(super) fn split<'a>(&self, text: &'a str, parse_special: bool) -> Vec<Fragment<'a>> {
        let mut fragments = if text.is_empty() { Vec::new() } else { vec![Fragment::Text(text)] };
        for special in self.tokens.iter().filter(|special| parse_special || special.always) {
            // Nearly every token is nowhere in the text; then nothing is allocated.
            if text.contains(&special.text) {
                fragments = fragments.into_iter().flat_map(|fragment| special.cut(fragment)).collect();
            }
        }
        fragments
    }
}

impl Special {
    fn cut<'a>(&self, fragment: Fragment<'a>) -> Vec<Fragment<'a>> {
        let Fragment::Text(text) = fragment else { return vec![fragment] };
        let mut parts = Vec::new();
        for (i, between) in text.split(self.text.as_str()).enumerate() {
            if i > 0 {
                parts.push(Fragment::Token(self.token));
            }
            if !between.is_empty() {
                parts.push(Fragment::Text(between));
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> Partition {
        let special = |text: &str, token, always| Special { text: text.into(), token, always };
        Partition { tokens: vec![special("<|long|>", 7, false), special("<|", 8, false), special("@@", 9, true)] }
    }

    #[test]
    fn longer_tokens_are_found_first() {
        let found = partition().split("a<|long|><|b", true);
        assert_eq!(found, [Fragment::Text("a"), Fragment::Token(7), Fragment::Token(8), Fragment::Text("b")]);
    }

    #[test]
    fn control_tokens_in_plain_text_are_text_but_user_defined_ones_are_tokens() {
        let found = partition().split("<|long|>@@@", false);
        assert_eq!(found, [Fragment::Text("<|long|>"), Fragment::Token(9), Fragment::Text("@")]);
        assert_eq!(partition().split("", true), []);
    }
}
