//! What followed these tokens the last time (prompt lookup decoding: Saxena, 2023; n-gram drafts of llama.cpp and vLLM).

use llmo_core::model::TokenId;

/// How far back to look. Comparing 4 096 tokens takes a few microseconds of a step's milliseconds.
const WINDOW: usize = 4096;
/// Longer matches are not told apart.
const LONGEST_MATCH: usize = 16;
/// A single token says little about the next one.
const SHORTEST_MATCH: usize = 2;

/// Guesses up to `count` tokens that follow `history` and then `last`, and puts them into `guesses`: what followed the
/// longest earlier match of the end, the latest of the longest ones.
///
/// Where the match reaches the end it is taken to go on: `a b a b` is followed by `a b a b …`.
pub(in super::super) fn guess(history: &[TokenId], last: TokenId, count: usize, guesses: &mut Vec<TokenId>) {
    guesses.clear();
    let from = history.len().saturating_sub(WINDOW);
    let history = &history[from..];
    let mut best = (SHORTEST_MATCH - 1, None);
    for (at, _) in history.iter().enumerate().rev().filter(|(_, token)| **token == last) {
        let before = history[..at].iter().rev().zip(history.iter().rev());
        let length = 1 + before.take(LONGEST_MATCH - 1).take_while(|(a, b)| a == b).count();
        if length > best.0 {
            best = (length, Some(at + 1));
        }
        if length == LONGEST_MATCH {
            break;
        }
    }
    let Some(start) = best.1 else { return };
    for index in start..start + count {
        let token = match index.checked_sub(history.len()) {
            None => history[index],
            Some(0) => last,
            Some(beyond) => guesses[beyond - 1],
        };
        guesses.push(token);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn guessed(history: &[TokenId], last: TokenId, count: usize) -> Vec<TokenId> {
        let mut guesses = vec![99];
        guess(history, last, count, &mut guesses);
        guesses
    }

    #[test]
    fn what_followed_the_longest_match_is_guessed() {
        //           ┌ three tokens match      ┌ two match, and later
        let history = [7, 1, 2, 3, 40, 41, 8, 2, 3, 50, 51, 7, 1, 2];
        assert_eq!(guessed(&history, 3, 2), [40, 41]);
    }

    #[test]
    fn of_equal_matches_the_latest_counts() {
        assert_eq!(guessed(&[1, 2, 30, 1, 2, 40, 1], 2, 1), [40]);
    }

    #[test]
    fn nothing_is_guessed_without_a_match_of_two() {
        assert!(guessed(&[5, 2, 9, 1], 2, 4).is_empty());
        assert!(guessed(&[], 2, 4).is_empty());
    }

    #[test]
    fn a_cycle_goes_on_beyond_the_end() {
        assert_eq!(guessed(&[1, 2, 3, 1, 2], 3, 7), [1, 2, 3, 1, 2, 3, 1]);
        assert_eq!(guessed(&[4, 4], 4, 3), [4, 4, 4]);
    }

    proptest! {
        #[test]
        fn guesses_are_as_many_as_asked_or_none(
            history in proptest::collection::vec(0_u32..4, 0..200), last in 0_u32..4, count in 0_usize..20,
        ) {
            let guesses = guessed(&history, last, count);
            prop_assert!(guesses.is_empty() || guesses.len() == count);
        }

        #[test]
        fn text_of_one_period_is_guessed_wholly(period in proptest::collection::vec(0_u32..1000, 1..10)) {
            let mut text: Vec<TokenId> = period.iter().copied().cycle().take(60).collect();
            let coming = text.split_off(40);
            let last = text.pop().unwrap();
            prop_assert_eq!(guessed(&text, last, 20), coming);
        }
    }
}
