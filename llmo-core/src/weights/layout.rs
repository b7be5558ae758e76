//! Where tensors lie in a file: inside it, and not on top of each other.

use std::ops::Range;

use super::WeightsError;

/// Checks that no two parts overlap. Empty parts take no room.
pub(super) fn check_disjoint<'a>(parts: impl Iterator<Item = (&'a str, Range<u64>)>) -> Result<(), WeightsError> {
    let mut parts: Vec<(Range<u64>, &str)> =
        parts.filter(|(_, range)| !range.is_empty()).map(|(name, range)| (range, name)).collect();
    parts.sort_unstable_by_key(|(range, _)| range.start);
    for pair in parts.windows(2) {
        if pair[1].0.start < pair[0].0.end {
            return Err(WeightsError::invalid(format!("the tensors {:?} and {:?} overlap", pair[0].1, pair[1].1)));
        }
    }
    Ok(())
}
