//! llama.cpp's saved state of a sequence, made independent of how many sequences the context has.
//!
//! ```text
//! magic (4) │ sequence (4) │ number of streams (4) │ for each stream: number of cells (4), and the cells if there are any
//! ```
//! With one stream a sequence, all streams but the sequence's own have no cells. llama.cpp refuses a state with another number
//! of streams than its own, although it puts the cells of whichever has some into the stream of the sequence that is restored.
//! So a state is kept as that of a single stream, and gets as many as the context has when it comes back.
//!
//! The layout is that of the llama.cpp that this crate is pinned to; tests restore real states.

use std::borrow::Cow;

/// Before the number of streams.
const BEFORE: usize = 8;
const COUNT: usize = 4;

/// The state of a single stream. `None` if it is not laid out as expected, or has no cells.
pub(super) fn of_one_stream(mut state: Vec<u8>) -> Option<Vec<u8>> {
    let streams = count(&state, BEFORE)? as usize;
    let counts = BEFORE + COUNT;
    let before = (0..streams).take_while(|stream| count(&state, counts + stream * COUNT) == Some(0)).count();
    let behind = streams.checked_sub(before + 1)? * COUNT;
    let end = state.len().checked_sub(behind).filter(|end| *end > counts + (before + 1) * COUNT)?;
    if state[end..].iter().any(|&byte| byte != 0) {
        return None;
    }
    state.truncate(end);
    state.drain(counts..counts + before * COUNT);
    state[BEFORE..counts].copy_from_slice(&1u32.to_le_bytes());
    Some(state)
}

/// A state of a single stream as a context with so many reads it. `None` if it is none.
pub(super) fn with_streams(state: &[u8], streams: u32) -> Option<Cow<'_, [u8]>> {
    if count(state, BEFORE)? != 1 || streams == 0 {
        return None;
    }
    if streams == 1 {
        return Some(Cow::Borrowed(state));
    }
    let behind = (streams as usize - 1) * COUNT;
    let mut wide = Vec::with_capacity(state.len() + behind);
    wide.extend_from_slice(state);
    wide[BEFORE..BEFORE + COUNT].copy_from_slice(&streams.to_le_bytes());
    wide.resize(state.len() + behind, 0);
    Some(Cow::Owned(wide))
}

fn count(state: &[u8], at: usize) -> Option<u32> {
    let bytes = state.get(at..at + COUNT)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What llama.cpp writes of a sequence whose stream is number `own` of `streams`.
    fn written(streams: u32, own: u32, cells: &[u8]) -> Vec<u8> {
        let mut state = b"magic+id".to_vec();
        state.extend_from_slice(&streams.to_le_bytes());
        for stream in 0..streams {
            let cells = if stream == own { cells } else { &[] };
            state.extend_from_slice(&u32::try_from(cells.len()).unwrap().to_le_bytes());
            state.extend_from_slice(cells);
        }
        state
    }

    #[test]
    fn a_state_of_four_streams_is_read_by_eight_and_by_one() {
        for own in 0..4 {
            let one = of_one_stream(written(4, own, &[9, 0, 0, 0, 0])).unwrap();
            assert_eq!(one, written(1, 0, &[9, 0, 0, 0, 0]));
            assert_eq!(with_streams(&one, 1).unwrap(), one);
            assert_eq!(with_streams(&one, 8).unwrap(), written(8, 0, &[9, 0, 0, 0, 0]));
        }
    }

    #[test]
    fn what_is_laid_out_otherwise_is_refused() {
        assert_eq!(of_one_stream(written(4, 9, &[])), None, "no cells");
        let mut two = written(2, 0, &[1]);
        *two.last_mut().unwrap() = 1;
        assert_eq!(of_one_stream(two), None, "another stream has cells");
        assert_eq!(with_streams(&written(4, 0, &[1]), 8), None);
        assert_eq!(with_streams(&written(1, 0, &[1]), 0), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_quietly_or_come_back(bytes in prop::collection::vec(0u8..3, 0..60), streams in 0u32..9) {
            if let Some(one) = of_one_stream(bytes) {
                prop_assert!(with_streams(&one, streams).is_some_and(|wide| wide.len() >= one.len()) || streams == 0);
            }
        }
    }
}
