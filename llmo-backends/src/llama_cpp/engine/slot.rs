//! A sequence of the context: what its KV cache holds and who uses it.

use std::time::Instant;

use llmo_core::model::TokenId;

use super::generation::Generation;

/// A sequence of the context.
#[derive(Default)]
pub(super) struct Slot {
    /// The tokens that the KV cache of this sequence holds, in order. Kept after a request, for the next with the same
    /// beginning.
    pub(super) cached: Vec<TokenId>,
    /// Whose tokens they are. Reusing another tenant's would tell, by the time it takes, what that tenant asked.
    pub(super) tenant: Option<String>,
    /// The request that uses the slot.
    pub(super) generation: Option<Generation>,
    /// When the last request left.
    pub(super) left_at: Option<Instant>,
}

impl Slot {
    pub(super) fn is_free(&self) -> bool {
        self.generation.is_none()
    }

    /// How many tokens of this prompt need not be run. At least one must be: its logits are needed.
    pub(super) fn reusable(&self, prompt: &[TokenId], tenant: Option<&str>) -> usize {
        if self.tenant.as_deref() != tenant {
            return 0;
        }
        let common = self.cached.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        common.min(prompt.len().saturating_sub(1))
    }
}

/// The free slot that suits a prompt best: most tokens to reuse; of equals an empty one, then the one left longest ago.
pub(super) fn best_free(slots: &[Slot], prompt: &[TokenId], tenant: Option<&str>) -> Option<usize> {
    let free = slots.iter().enumerate().filter(|(_, slot)| slot.is_free());
    free.max_by_key(|(index, slot)| {
        let reusable = slot.reusable(prompt, tenant);
        let empty = slot.cached.is_empty();
        (reusable, empty, std::cmp::Reverse(slot.left_at), std::cmp::Reverse(*index))
    })
    .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn slot(cached: &[TokenId], tenant: Option<&str>, left_at: Option<Instant>) -> Slot {
        Slot { cached: cached.to_vec(), tenant: tenant.map(str::to_owned), generation: None, left_at }
    }

    #[test]
    fn the_longest_common_prefix_wins() {
        let slots = [slot(&[1, 2], None, None), slot(&[1, 2, 3, 9], None, None), slot(&[], None, None)];
        assert_eq!(best_free(&slots, &[1, 2, 3, 4], None), Some(1));
    }

    #[test]
    fn without_a_common_prefix_an_empty_slot_is_taken_then_the_oldest() {
        let early = Instant::now();
        let late = early + Duration::from_secs(1);
        let slots = [slot(&[7], None, Some(late)), slot(&[8], None, Some(early)), slot(&[], None, None)];
        assert_eq!(best_free(&slots, &[1], None), Some(2));
        assert_eq!(best_free(&slots[..2], &[1], None), Some(1));
        assert_eq!(best_free(&[], &[1], None), None);
    }

    #[test]
    fn the_last_token_of_a_prompt_is_always_run() {
        assert_eq!(slot(&[1, 2, 3], None, None).reusable(&[1, 2, 3], None), 2);
        assert_eq!(slot(&[1, 2, 3], None, None).reusable(&[1], None), 0);
    }

    #[test]
    fn tokens_of_another_tenant_are_not_reused() {
        let slot = slot(&[1, 2, 3], Some("a"), None);
        assert_eq!(slot.reusable(&[1, 2, 3], Some("b")), 0);
        assert_eq!(slot.reusable(&[1, 2, 3], None), 0);
        assert_eq!(slot.reusable(&[1, 2, 3], Some("a")), 2);
    }
}
