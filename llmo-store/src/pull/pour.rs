//! From a stream into a part, in portions that are worth a trip to the disk.

use bytes::Bytes;
use futures::{Stream, StreamExt};
use llmo_core::store::StoreError;

use super::part::Part;

const PORTION: usize = 1 << 20;

/// Why a stream did not end in the part.
pub(super) enum Spilled<E> {
    /// The stream broke. What came before is in the part.
    Broken(E),
    /// The part did not take it: too much, or the disk is full.
    Refused(StoreError),
}

/// Appends all of `data`.
pub(super) async fn pour<E>(
    mut data: impl Stream<Item = Result<Bytes, E>> + Unpin,
    part: &Part,
) -> Result<(), Spilled<E>> {
    let mut portion = Vec::new();
    let mut waiting = 0;
    loop {
        let end = match data.next().await {
            Some(Ok(piece)) => {
                waiting += piece.len();
                portion.push(piece);
                None
            }
            Some(Err(error)) => Some(Err(Spilled::Broken(error))),
            None => Some(Ok(())),
        };
        if waiting >= PORTION || end.is_some() {
            waiting = 0;
            part.append(std::mem::take(&mut portion)).await.map_err(Spilled::Refused)?;
        }
        if let Some(end) = end {
            return end;
        }
    }
}
