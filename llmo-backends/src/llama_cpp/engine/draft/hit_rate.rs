//! How often guesses are right in one stream.

use llmo_core::model::TokenId;

/// Weight of one more guess. A stream changes from prose to code and back within a few dozen tokens.
const WEIGHT: f64 = 0.1;

/// The share of right guesses, of those behind right ones. Guesses that are not run count as well: the token that is
/// drawn shows what they would have been worth, at no cost.
#[derive(Debug)]
pub(in super::super) struct HitRate {
    share: f64,
    /// What was guessed for the next token.
    expected: Option<TokenId>,
}

impl Default for HitRate {
    fn default() -> Self {
        Self { share: 0.5, expected: None }
    }
}

impl HitRate {
    /// Share of right guesses, 0.0 to 1.0.
    pub(in super::super) fn share(&self) -> f64 {
        self.share
    }

    /// This is the guess for the next token that is drawn; `None`: there is none.
    pub(in super::super) fn expect(&mut self, guess: Option<TokenId>) {
        self.expected = guess;
    }

    /// This token was drawn. Was it the one expected?
    pub(in super::super) fn drawn(&mut self, token: TokenId) -> bool {
        let Some(expected) = self.expected.take() else { return false };
        let right = token == expected;
        self.share += WEIGHT * (f64::from(u8::from(right)) - self.share);
        right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_guesses_raise_the_share_and_wrong_ones_lower_it() {
        let mut rate = HitRate::default();
        for _ in 0..20 {
            rate.expect(Some(7));
            assert!(rate.drawn(7));
        }
        assert!(rate.share() > 0.9);
        for _ in 0..20 {
            rate.expect(Some(7));
            assert!(!rate.drawn(8));
        }
        assert!(rate.share() < 0.2);
    }

    #[test]
    fn a_token_nobody_guessed_tells_nothing() {
        let mut rate = HitRate::default();
        rate.expect(None);
        assert!(!rate.drawn(7));
        assert_eq!(rate.share(), 0.5);
    }
}
