//! Which beginnings are worth keeping.

use std::collections::HashMap;

use llmo_core::model::TokenId;

/// Shorter ones are read faster than they are fetched.
pub(in super::super::super) const SHORTEST: usize = 128;

/// Beginnings that differ by less count as one: prompts that share a system prompt often share a few tokens more by chance.
const GRAIN: usize = 64;

/// After so many uses by other requests a beginning is kept.
const USES: u32 = 2;

/// If that failed, it is tried again after so many uses more.
const TRY_AGAIN: u32 = 16;

/// Beginnings that are counted. Past that the count starts anew: what is popular comes again.
const COUNTED_AT_MOST: usize = 1024;

/// Counts how often beginnings are reused.
#[derive(Debug, Default)]
pub(super) struct Popular {
    uses: HashMap<[u8; 32], u32>,
}

impl Popular {
    /// This beginning was used once more. Has it become popular?
    pub(super) fn used(&mut self, salt: &[u8; 32], tokens: &[TokenId]) -> bool {
        if tokens.len() < SHORTEST {
            return false;
        }
        if self.uses.len() >= COUNTED_AT_MOST {
            self.uses.clear();
        }
        let mut hash = blake3::Hasher::new();
        hash.update(salt);
        tokens[..tokens.len() / GRAIN * GRAIN].iter().for_each(|token| {
            hash.update(&token.to_le_bytes());
        });
        let uses = self.uses.entry(*hash.finalize().as_bytes()).or_default();
        *uses += 1;
        uses.checked_sub(USES).is_some_and(|more| more % TRY_AGAIN == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_and_again_is_popular() {
        let mut popular = Popular::default();
        let tokens: Vec<TokenId> = (0..300).collect();
        assert!(!popular.used(&[0; 32], &tokens[..290]));
        assert!(!popular.used(&[1; 32], &tokens[..290]), "another tenant's uses don't count");
        assert!(!popular.used(&[0; 32], &tokens[..200]));
        assert!(popular.used(&[0; 32], &tokens[..260]));
        assert!(!popular.used(&[0; 32], &tokens[..260]), "it is told once");
        assert!((0..9).all(|_| !popular.used(&[0; 32], &tokens[..100])), "too short to be worth it");
    }

    #[test]
    fn it_forgets_rather_than_grows() {
        let mut popular = Popular::default();
        for salt in 0..5000u32 {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&salt.to_le_bytes());
            popular.used(&bytes, &[0; 128]);
        }
        assert!(popular.uses.len() <= COUNTED_AT_MOST);
    }
}
