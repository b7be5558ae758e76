//! Which texts are computed together: those of similar length, so that little of the work is padding.

/// Most tokens of a batch, padding included. Larger batches are not faster on a CPU and take more memory: attention
/// holds 12 heads of tokens × longest text.
const BATCH_TOKENS: usize = 4096;

/// Groups of indices into `lengths` (tokens of each text), longest texts first. Every index is in one group.
pub(super) fn plan(lengths: &[usize]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&text| std::cmp::Reverse(lengths[text]));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for text in order {
        match batches.last_mut() {
            // The first text of a batch is its longest: all others are padded to it.
            Some(batch) if (batch.len() + 1) * lengths[batch[0]] <= BATCH_TOKENS => batch.push(text),
            _ => batches.push(vec![text]),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_is_computed_once_and_no_batch_is_too_large(
            lengths in proptest::collection::vec(1_usize..600, 0..300),
        ) {
            let batches = plan(&lengths);
            let mut all: Vec<usize> = batches.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
            for batch in batches {
                prop_assert!(batch.iter().all(|&text| lengths[text] <= lengths[batch[0]]));
                prop_assert!(batch.len() * lengths[batch[0]] <= BATCH_TOKENS);
            }
        }
    }
}
